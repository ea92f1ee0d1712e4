package domain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/acme"
	"github.com/gitd-io/gitd/internal/app"
)

// A program that obtains certificates and does not read holds nothing up, however much it is told.
func TestManager_ProgramThatDoesNotRead(t *testing.T) {
	parts := t.TempDir()
	if err := os.WriteFile(filepath.Join(parts, "gitd-acme"), []byte("#!/bin/sh\n: >\"$0.up\"\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITD_PARTS", parts)
	issuer := acme.New(acme.Options{DNS: func(string) bool { return false }, Log: func(string, ...any) {}})
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		issuer.Run(ctx)
	}()
	b := open(t, func(o *Options) { o.Issuer = issuer })
	done := make(chan error, 1)
	go func() {
		long := strings.Repeat(strings.Repeat("x", 60)+".", 3)
		for i := range 60 { // lists of 60 × 200 bytes in the end: far more than a pipe takes
			if _, err := b.Add(ctx, app.Root, "shop", Add{Name: fmt.Sprintf("d%d.%sexample", i, long), NoCheck: true}); err != nil {
				done <- err
				return
			}
			for _, err := os.Stat(filepath.Join(parts, "gitd-acme.up")); err != nil && ctx.Err() == nil; _, err = os.Stat(filepath.Join(parts, "gitd-acme.up")) {
				time.Sleep(time.Millisecond)
			}
			issuer.Again(fmt.Sprintf("d%d.%sexample", i, long))
		}
		b.Expiries()
		_, err := b.Of(ctx, "shop")
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the manager waits for the program")
	}
	cancel()
	select {
	case <-over:
	case <-time.After(20 * time.Second):
		t.Error("the issuer waits for the program when it is to end")
	}
}

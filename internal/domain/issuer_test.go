package domain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	case <-time.After(time.Minute):
		t.Error("the manager waits for the program")
	}
	cancel()
	select {
	case <-over:
	case <-time.After(time.Minute):
		t.Error("the issuer waits for the program when it is to end")
	}
}

// A certificate that is forgotten is asked for again, also where the same names are wanted afterwards: the issuer hears of a list without it.
func TestManager_AskedForAgain(t *testing.T) {
	b := open(t, nil)
	b.mustAdd(t, "shop", "www.shop.example")
	b.mustAdd(t, "shop", "other.example")
	demand := func() {
		t.Helper()
		b.Demand("shop.apps.test")
		for range 500 {
			if slices.Contains(b.issuer.wanted(), "shop.apps.test") {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("the name of the app is not wanted")
	}
	demand()
	all := []string{"other.example", "shop.apps.test", "www.shop.example"}
	for _, name := range all {
		b.Obtained(name, b.issued(t, name))
	}
	a, err := b.o.Store.App(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Forget(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if got := b.issuer.wanted(); len(got) != 0 || len(b.served.Certificates) != 0 {
		t.Errorf("an app that goes: wanted %q, served %v", got, b.served.Certificates)
	}
	b.Obtained("other.example", b.issued(t, "other.example"))
	if until, _ := b.Expiries(); len(until) != 0 {
		t.Errorf("a certificate that was under way is taken: %v", until)
	}
	demand() // a client asks before the ledger lets go, and all is wanted once more
	b.Obtained("shop.apps.test", b.issued(t, "shop.apps.test"))
	if err := b.o.Store.DeleteApp(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	b.Forgotten(t.Context())
	if got := b.issuer.wanted(); len(got) != 0 || len(b.served.Certificates) != 0 {
		t.Errorf("an app that went: wanted %q, served %v", got, b.served.Certificates)
	}
	if _, err := b.o.Store.CreateApp(t.Context(), "shop", "ada"); err != nil {
		t.Fatal(err)
	}
	demand()
}

// A domain that moves is asked for again.
func TestManager_MoveIsAskedForAgain(t *testing.T) {
	b := open(t, nil)
	b.mustAdd(t, "shop", "ada.example")
	b.Obtained("ada.example", b.issued(t, "ada.example"))
	_, err := b.Add(t.Context(), app.Root, "wiki", Add{Name: "ada.example", NoCheck: true})
	_, next := app.Explain(err)
	_, text, _ := strings.Cut(next, `"`)
	text, _, _ = strings.Cut(text, `"`)
	if err := b.dns.Set("_gitd-challenge.ada.example", "TXT "+text); err != nil {
		t.Fatal(err)
	}
	b.issuer.lists = nil
	b.mustAdd(t, "wiki", "ada.example")
	if got := b.issuer.lists; len(got) != 2 || len(got[0]) != 0 || !slices.Equal(got[1], []string{"ada.example"}) {
		t.Errorf("the issuer hears %q", got)
	}
	given := b.issued(t, "ada.example")
	a, err := b.Add(t.Context(), app.Root, "wiki", Add{Name: "ada.example", NoCheck: true, Certificate: given})
	if err != nil || !a.Certificate.File || len(b.issuer.wanted()) != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

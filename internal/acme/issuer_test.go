package acme

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/acme/wire"
)

// started runs an Issuer whose program is a script, with its folder in $at. The program has ended for gitd when its output ends.
func started(t *testing.T, script string, o Options) (i *Issuer, dir string, stop func()) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gitd-acme"), []byte("#!/bin/sh\nat=${0%/*}\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITD_PARTS", dir)
	o.DNS, o.Log = func(string) bool { return false }, t.Logf
	i = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		i.Run(ctx)
	}()
	stop = func() {
		t.Helper()
		cancel()
		select {
		case <-over:
		case <-time.After(time.Minute):
			t.Fatal("the issuer waits for the program when it is to end")
		}
	}
	t.Cleanup(stop)
	return i, dir, stop
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 2000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(what)
}

// A program that does not read is waited for by none; when it reads, it is told the newest list alone.
func TestIssuer_NewestListAlone(t *testing.T) {
	i, dir, _ := started(t, `: >$at/up; while ! [ -e $at/read ]; do sleep 0.05; done; exec tee $at/orders`, Options{})
	i.Want([]string{"first.example"})
	eventually(t, "the program does not start", func() bool { _, err := os.Stat(filepath.Join(dir, "up")); return err == nil })
	began := time.Now()
	var names []string
	for n := range 100 { // 200 lists of 60 KiB in the end
		names = append(names, fmt.Sprintf("d%d.%sexample", n, strings.Repeat(strings.Repeat("x", 60)+".", 10)))
		i.Want(names)
		i.Again(names[n])
	}
	i.Want(names[:1])
	i.Want(names)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it waits: %s", took)
	}
	if err := os.WriteFile(filepath.Join(dir, "read"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var lists [][]wire.Name
	again := map[string]bool{}
	eventually(t, "the names are not told", func() bool {
		lists, again = nil, map[string]bool{}
		f, err := os.Open(filepath.Join(dir, "orders"))
		if err != nil {
			return false
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Buffer(nil, 1<<20); lines.Scan(); {
			var o wire.Order
			if json.Unmarshal(lines.Bytes(), &o) != nil {
				return false
			}
			if o.Names != nil {
				lists = append(lists, *o.Names)
			}
			again[o.Again] = true
		}
		return len(lists) > 0 && len(lists[len(lists)-1]) == len(names) && again[names[99]]
	})
	if len(lists) > 20 {
		t.Errorf("it is told %d lists", len(lists))
	}
}

// A name that was left out and comes back has another number; the others keep theirs, wherever they are in the list.
func TestIssuer_Numbers(t *testing.T) {
	i := New(Options{DNS: func(string) bool { return false }})
	number := func(name string) int {
		for _, n := range i.names {
			if n.Name == name {
				return n.Number
			}
		}
		return 0
	}
	i.Want([]string{"a.example", "b.example"})
	a, b := number("a.example"), number("b.example")
	i.Want([]string{"b.example"})
	i.Want([]string{"b.example", "a.example"})
	if number("b.example") != b || number("a.example") == a || number("a.example") == b || a == b {
		t.Errorf("%d and %d, and then %v", a, b, i.names)
	}
}

// A challenge that is answered is said so.
func TestIssuer_Challenge(t *testing.T) {
	i, dir, stop := started(t, `echo '{"challenge":{"number":7,"type":"http-01","name":"a.example"}}'; exec tee $at/orders`, Options{Challenge: func(_ wire.Challenge, done func(error)) { done(nil) }})
	i.Want([]string{"a.example"})
	eventually(t, "it is not said", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "orders"))
		return err == nil && slices.Contains(strings.Split(string(b), "\n"), `{"done":7}`)
	})
	stop()
}

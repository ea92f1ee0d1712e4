package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	h := openHost(t)
	t.Run("processes", func(t *testing.T) {
		out, _ := run(t, h, Spec{Args: []string{"/probe", "fork"}, PIDs: 40})
		if !strings.HasPrefix(out, "stopped after ") {
			t.Error(out)
		}
	})
	t.Run("fork bomb", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		_, err := h.Run(ctx, Spec{ID: "bomb", Layers: []string{probe}, Args: []string{"/probe", "bomb"}, PIDs: 60, CPU: 0.5, Memory: 128 << 20})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if p := h.cgroups.processes("bomb"); len(p) > 0 {
			t.Errorf("left: %v", p)
		}
	})
	t.Run("memory", func(t *testing.T) {
		_, e := run(t, h, Spec{Args: []string{"/probe", "eat"}, Memory: 32 << 20})
		if !e.OutOfMemory || e.Code != 137 || e.Signal != "killed" {
			t.Errorf("%+v", e)
		}
		out, e := run(t, h, Spec{Args: []string{"/probe", "eat-in-child"}, Memory: 32 << 20})
		if !e.OutOfMemory || e.Code != 3 && e.Code != 137 {
			t.Errorf("%+v %s", e, out)
		}
		if _, e = run(t, h, Spec{Args: []string{"/probe", "say", "x"}, Memory: 32 << 20}); e.OutOfMemory {
			t.Errorf("%+v", e)
		}
	})
	t.Run("tmp", func(t *testing.T) {
		if out, _ := run(t, h, Spec{Args: []string{"/probe", "write", "/tmp/x", "2000000"}, TmpSize: 1 << 20}); !strings.Contains(out, "no space left") {
			t.Error(out)
		}
		if out, _ := run(t, h, Spec{Args: []string{"/probe", "write", "/tmp/x", "2000000"}}); out != "error: <nil>\n" {
			t.Error(out)
		}
	})
	t.Run("file size", func(t *testing.T) {
		if out, _ := run(t, h, Spec{Args: []string{"/probe", "write", "/tmp/x", "2000000"}, FileSize: 1 << 20}); !strings.Contains(out, "file too large") {
			t.Error(out)
		}
	})
	t.Run("cpu", func(t *testing.T) {
		s := Spec{ID: "x", Layers: []string{probe}, Args: []string{"x"}, CPU: 0.25}
		o, err := specification(&s, "/x", "/x", "/x", true)
		if err != nil || *o.Linux.Resources.CPU.Quota != 25000 || *o.Linux.Resources.CPU.Period != 100000 {
			t.Errorf("%+v, %v", o.Linux.Resources.CPU, err)
		}
	})
}

func TestExit(t *testing.T) {
	h := openHost(t)
	if _, e := run(t, h, Spec{Args: []string{"/probe", "exit", "255"}}); e.Code != 255 || e.Signal != "" || e.At.IsZero() {
		t.Errorf("%+v", e)
	}
	stubborn := filepath.Join(t.TempDir(), "log")
	c := start(t, h, Spec{ID: "killed", Args: []string{"/probe", "stubborn"}, LogFile: stubborn})
	eventually(t, func() error { return contains(stubborn, "ready") })
	if e := c.Exit(); e != (Exit{}) {
		t.Errorf("exit of a running container: %+v", e)
	}
	if err := c.Stop(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if e := ended(t, c); e.Code != 137 || e.Signal != "killed" || e.OutOfMemory {
		t.Errorf("%+v", e)
	}
	log := filepath.Join(t.TempDir(), "log")
	c = start(t, h, Spec{ID: "polite", Args: []string{"/probe", "polite"}, LogFile: log})
	eventually(t, func() error { return contains(log, "ready") })
	if err := c.Stop(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if e := ended(t, c); e.Code != 5 {
		t.Errorf("%+v", e)
	}
	if err := contains(log, "bye"); err != nil {
		t.Error(err)
	}
	if err := c.Stop(t.Context(), time.Minute); err != nil {
		t.Errorf("a second stop: %v", err)
	}
	if _, err := c.Dial(t.Context(), 80); err == nil {
		t.Error("dialled a container that has ended")
	}
}

func contains(name, what string) error {
	b, err := os.ReadFile(name)
	if err == nil && !strings.Contains(string(b), what) {
		err = fmt.Errorf("%s has no %q but %q", name, what, b)
	}
	return err
}

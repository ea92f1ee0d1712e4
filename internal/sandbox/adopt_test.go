package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/reexec"
)

func init() { reexec.Register("test-server", server) }

// server is a gitd that is killed: it starts containers, and one Run, says so and waits.
func server(args []string) int {
	dir, layer := args[0], args[1]
	h, err := Open(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for id, command := range map[string][]string{"web": {"/probe", "serve", "127.0.0.1:8080", "hi"}, "dies": {"/probe", "sleep-exit", "1500ms"}, "orphan": {"/probe", "sleep", "1h"}} {
		if _, err := h.Start(context.Background(), Spec{ID: id, Layers: []string{layer}, Args: command, Labels: map[string]string{"is": id}, LogFile: filepath.Join(dir, id+".log"), Egress: id == "web"}); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	if _, err := h.Prepare(context.Background(), Spec{ID: "prepared", Layers: []string{layer}, Args: []string{"/probe", "sleep", "1h"}, Egress: true}); err != nil {
		fmt.Println(err)
		return 1
	}
	go func() {
		_, err := h.Run(context.Background(), Spec{ID: "build", Layers: []string{layer}, Args: []string{"/probe", "family"}, Output: os.Stdout})
		fmt.Println(err)
	}()
	select {}
}

// startServer starts a gitd of its own on dir, which runs containers.
func startServer(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := reexec.Command(t.Context(), "test-server", dir, probe)
	cmd.Env = append(cmd.Env, "GITD_PARTS="+os.Getenv("GITD_PARTS"), "PATH="+os.Getenv("PATH"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the server says %q, %v", line, err)
	}
	return cmd
}

func TestAdopt(t *testing.T) {
	dir := t.TempDir()
	cmd := startServer(t, dir)

	// Beside a living server: what it runs is its own.
	beside := openHostAt(t, dir)
	all, err := beside.Containers(t.Context())
	if err != nil || len(all) != 3 {
		t.Fatalf("beside the living server: %v, %v", all, err)
	}
	builders := beside.cgroups.processes("build")
	if len(builders) < 4 {
		t.Fatalf("the build was stopped: %v", builders)
	}
	if err := beside.Close(); err != nil {
		t.Fatal(err)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	killed := time.Now()
	var h *Host
	eventually(t, func() error { // the build ends by itself
		if p := (&cgroups{parent: beside.cgroups.parent, roots: beside.cgroups.roots}).processes("build"); len(p) > 0 {
			return fmt.Errorf("of the build are left %v", p)
		}
		return nil
	})
	t.Logf("the build was gone %v after its server", time.Since(killed))
	h = openHostAt(t, dir)
	t.Logf("adopted in %v", time.Since(killed))
	if all, err = h.Containers(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkAdopted(t, all)
	// Once more, after its end: from the disk alone.
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = openHostAt(t, dir)
	all, err = h.Containers(t.Context())
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	endAdopted(t, h, dir, all)
	nothingLeft(t, h)
}

// checkAdopted checks that the containers of the killed server are there, and work.
func checkAdopted(t *testing.T, all []*Container) {
	t.Helper()
	byID := map[string]*Container{}
	for _, c := range all {
		byID[c.ID] = c
		if c.Labels["is"] != c.ID || c.Started.IsZero() {
			t.Errorf("%+v", c)
		}
	}
	if len(byID) != 3 || byID["web"] == nil || byID["dies"] == nil {
		t.Fatalf("adopted %v", all)
	}
	if s, err := get(within(t, 10*time.Second), byID["web"], 8080); err != nil || s != "hi" {
		t.Errorf("web says %q, %v", s, err)
	}
	if p, err := byID["web"].Listening(); err != nil || fmt.Sprint(p) != "[8080]" {
		t.Errorf("%v, %v", p, err)
	}
	if e := ended(t, byID["dies"]); e.Code != 7 {
		t.Errorf("%+v", e)
	}
}

// endAdopted ends each adopted container in its own way, and removes them.
func endAdopted(t *testing.T, h *Host, dir string, all []*Container) {
	t.Helper()
	for _, c := range all {
		switch c.ID {
		case "dies":
			if e := ended(t, c); e.Code != 7 || e.At.IsZero() {
				t.Errorf("%+v", e)
			}
		case "web":
			if err := c.Stop(t.Context(), 0); err != nil {
				t.Error(err)
			}
			if e := ended(t, c); e.Code != 137 {
				t.Errorf("%+v", e)
			}
			if err := contains(filepath.Join(dir, "web.log"), "listening"); err != nil {
				t.Error(err)
			}
		case "orphan": // its shim is killed
			shim := shimOf(t, c)
			if err := unix.Kill(shim, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if e := ended(t, c); e.Code != 137 {
				t.Errorf("%+v", e)
			}
			if p := h.cgroups.processes(c.ID); len(p) > 0 {
				t.Errorf("left: %v", p)
			}
		}
		if err := c.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// shimOf finds a container's shim.
func shimOf(t *testing.T, c *Container) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-f", "^gitd-shim "+c.dir+"$").Output()
	var pid int
	if _, e := fmt.Sscan(string(out), &pid); err != nil || e != nil {
		t.Fatalf("no shim of %s: %v, %v", c.ID, err, e)
	}
	return pid
}

// TestLeftovers makes what a power failure or a crash leaves.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	h := openHostAt(t, dir)
	start(t, h, Spec{ID: "was", Args: []string{"/probe", "sleep", "1h"}, Labels: map[string]string{"a": "b"}})
	was := filepath.Join(dir, containersDir, "was")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	copies := map[string]func(to string){
		"no-record":  func(to string) { _ = os.Remove(filepath.Join(to, recordFile)) },
		"bad-record": func(to string) { _ = os.WriteFile(filepath.Join(to, recordFile), []byte("{"), 0o600) },
		"no-fifo":    func(to string) { _ = os.Remove(filepath.Join(to, "alive")) },
		"no-init":    func(to string) { _ = os.Remove(filepath.Join(to, "init.json")) },
		"was-build": func(to string) {
			_ = os.WriteFile(filepath.Join(to, recordFile), []byte(`{"ID":"was-build","Attached":true}`), 0o600)
		},
		"rebooted":  func(string) {}, // its shim is gone, and did not write how it ended
		".new-1234": func(string) {},
		".gone-x":   func(string) {},
	}
	for id, damage := range copies {
		copyDamaged(t, was, filepath.Join(dir, containersDir, id), damage)
	}
	h = openHostAt(t, dir)
	all, err := h.Containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*Container{}
	for _, c := range all {
		found[c.ID] = c
	}
	if len(found) != 2 || found["was"] == nil || found["rebooted"] == nil {
		t.Errorf("found %v", found)
	}
	if e := ended(t, found["rebooted"]); e.Code != 137 {
		t.Errorf("%+v", e)
	}
	select {
	case <-found["was"].Done():
		t.Error("the running one was stopped")
	default:
	}
	e, _ := os.ReadDir(filepath.Join(dir, containersDir))
	if len(e) != 2 {
		t.Errorf("left: %v", e)
	}
}

// copyDamaged copies a container's directory, as another one that is damaged.
func copyDamaged(t *testing.T, was, to string, damage func(to string)) {
	t.Helper()
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{recordFile, "init.json", "config.json", "shim.json"} {
		b, err := os.ReadFile(filepath.Join(was, f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, f), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(to, "alive"), 0o600); err != nil {
		t.Fatal(err)
	}
	damage(to)
	if strings.HasPrefix(filepath.Base(to), ".") {
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(to, old, old); err != nil {
			t.Fatal(err)
		}
	}
}

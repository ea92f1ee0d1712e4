package sandbox

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// room starts a shell in a Room and waits for its first line, by when it is in the group.
func inRoom(t *testing.T, r *Room, script string) (string, error) {
	t.Helper()
	c := exec.Command("/bin/sh", "-c", "read go; "+script)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := r.Start(c); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(in, "go\n")
	err = c.Wait()
	return out.String(), err
}

// A process that is killed leaves its Rooms; the next one removes them. A room that is still entered ends.
func TestRoom_LeftBehind(t *testing.T) {
	h := openHost(t)
	r, err := h.Room("left", RoomLimits{Memory: 64 << 20, PIDs: 32})
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/bin/sleep", "300")
	if err := r.Start(c); err != nil {
		t.Fatal(err)
	}
	next, err := Open(t.Context(), Options{Dir: h.opts.Dir, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := c.Wait(); err == nil {
		t.Error("what ran in the room came to a good end")
	}
	for _, d := range h.cgroups.dirs("left") {
		if _, err := os.Lstat(d); !os.IsNotExist(err) {
			t.Errorf("%s is there (%v)", d, err)
		}
	}
}

func TestRoom(t *testing.T) {
	h := openHost(t)
	r, err := h.Room("room", RoomLimits{Memory: 64 << 20, PIDs: 32, CPU: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	l, err := r.Listen(7777)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	}()
	defer l.Close()
	out, err := inRoom(t, r, "cat /proc/self/cgroup /proc/net/dev /proc/net/tcp; grep NoNewPrivs /proc/self/status")
	if err != nil || !strings.Contains(out, h.cgroups.background()+"/room\n") || strings.Contains(out, "eth0") || !strings.Contains(out, " lo:") || !strings.Contains(out, ":1E61 ") || !strings.Contains(out, "NoNewPrivs:\t1\n") {
		t.Errorf("%v\n%s", err, out)
	}
	if r.OutOfMemory() {
		t.Error("out of memory before anything was")
	}
	if out, err := inRoom(t, r, "head -c 200000000 /dev/zero | tail -c 200000000 | wc -c; echo $?"); strings.Contains(out, "200000000") {
		t.Errorf("%v\n%s", err, out)
	}
	if !r.OutOfMemory() {
		t.Error("not out of memory")
	}
	left := exec.Command("/bin/sleep", "1000")
	if err := r.Start(left); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := left.Wait(); err == nil || left.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal() != unix.SIGKILL {
		t.Errorf("what was left: %v", left.ProcessState)
	}
	for _, d := range h.cgroups.dirs("room") {
		if _, err := os.Stat(d); err == nil {
			t.Errorf("%s is left", d)
		}
	}
	if _, err := h.Room("../x", RoomLimits{}); err == nil {
		t.Error("a room outside of the group")
	}
}

// A container in the background is in the group of builds, which others take precedence over.
func TestBackground(t *testing.T) {
	h := openHost(t)
	var out bytes.Buffer
	if e, err := h.Run(within(t, 30e9), Spec{ID: "build", Layers: []string{probe}, Args: []string{"/probe", "read", "/proc/self/cgroup"}, Background: true, Memory: 64 << 20, Output: &out}); err != nil || e.Code != 0 {
		t.Fatalf("%+v, %v: %s", e, err, out.String())
	}
	found := false
	for _, r := range h.cgroups.roots {
		for name, want := range map[string]int{"cpu.shares": backgroundShares, "cpu.weight": backgroundWeight} {
			if b, err := os.ReadFile(filepath.Join(r, h.cgroups.background(), name)); err == nil {
				if found = strings.TrimSpace(string(b)) == strconv.Itoa(want); !found {
					t.Errorf("%s is %s", name, b)
				}
			}
		}
	}
	if !found {
		t.Error("the group of builds has no weight")
	}
}

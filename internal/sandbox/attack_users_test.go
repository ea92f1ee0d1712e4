package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// userImage is a layer as images have them: a user of its own, with a home and files of its own.
func userImage(t *testing.T) (layers []string) {
	t.Helper()
	top := t.TempDir()
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name, content string
		mode          os.FileMode
		uid, gid      int
	}{
		{"etc", "", os.ModeDir | 0o755, 0, 1000},
		{"etc/passwd", "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n", 0o644, 0, 1000},
		{"etc/shadow", "root:secret\n", 0o640, 0, 42},
		{"etc/group", "root:x:0:\nus:x:1000:\n", 0o644, 0, 1000},
		{"home", "", os.ModeDir | 0o755, 0, 1000},
		{"home/me", "", os.ModeDir | 0o700, 1000, 1000},
		{"home/me/secret", "mine\n", 0o600, 1000, 1000},
		{"home/me/group", "ours\n", 0o640, 0, 1000},
	} {
		name := filepath.Join(top, f.name)
		err := error(nil)
		if f.mode.IsDir() {
			err = os.Mkdir(name, 0o700)
		} else {
			err = os.WriteFile(name, []byte(f.content), 0o600)
		}
		if err == nil {
			err = os.Lchown(name, f.uid, f.gid)
		}
		if err == nil {
			err = os.Chmod(name, f.mode.Perm())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return []string{probe, top}
}

// The attack: one app takes all that the kernel allows a user: inotify instances, message queues, timers, memory of pipes. An app of another
// owner must get as much as if it were alone on the machine, although both images name the same user.
func TestAttack_WhatTheKernelCountsByUser(t *testing.T) {
	h := openHost(t)
	exhaust := func(id int64) string {
		out, _ := run(t, h, Spec{Args: []string{"/probe", "exhaust", "500"}, UID: 1000, GID: 1000, Owner: h.UID(id, "")})
		return out
	}
	alone := exhaust(70001)
	log := filepath.Join(t.TempDir(), "log")
	evil := start(t, h, Spec{ID: "evil", Args: []string{"/probe", "exhaust", "500000", "keep"}, UID: 1000, GID: 1000, Owner: h.UID(70002, ""), LogFile: log})
	eventually(t, func() error {
		b, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(b), "ready") {
			err = fmt.Errorf("not yet: %s", b)
		}
		return err
	})
	if beside := exhaust(70001); beside != alone || !strings.Contains(alone, "inotify ") || strings.Contains(alone, " 0\n") {
		t.Errorf("alone:\n%s\nbeside the other:\n%s", alone, beside)
	}
	if same := exhaust(70002); !strings.Contains(same, "inotify 0\n") {
		t.Errorf("the attack has no effect: the same user still has\n%s", same)
	}
	if err := evil.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

// The attack: on most distributions user 1000 is the first human, and images name that user as well. As the human, read an app's
// environment with its secrets, open its files, and send it a signal. All must be refused.
func TestAttack_UserOfTheHostWithTheImagesNumber(t *testing.T) {
	h := openHost(t)
	c := start(t, h, Spec{ID: "app", Args: []string{"/probe", "sleep", "1h"}, UID: 1000, GID: 1000, Owner: h.UID(1, "app"), Env: []string{"PASSWORD=secret"}, Layers: userImage(t)})
	for _, try := range []string{"kill -0 %d", "cat /proc/%d/environ", "ls /proc/%d/root/home", "cat /proc/%d/maps | head -1 | grep ."} {
		cmd := exec.Command("sh", "-c", fmt.Sprintf(try, c.init.PID))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("%s: %s", try, out)
		}
	}
	if err := c.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFilesOfTheImagesUser(t *testing.T) {
	h := openHost(t)
	if !h.users.able {
		t.Fatal("this kernel cannot map layers")
	}
	for _, mapped := range []bool{true, false} { // an older kernel
		t.Run(fmt.Sprintf("mapped %v", mapped), func(t *testing.T) {
			h.users.able = mapped
			s := Spec{UID: 1000, GID: 1000, Owner: h.UID(12, "app"), Layers: userImage(t)}
			do := func(args ...string) string {
				s.Args = append([]string{"/probe"}, args...)
				out, _ := run(t, h, s)
				return out
			}
			if out := do("ids"); !strings.HasPrefix(out, fmt.Sprintf("%d %[1]d ", s.Owner)) {
				t.Error(out)
			}
			if out := do("read", "/home/me/secret"); out != "mine\n" {
				t.Error(out)
			}
			want := fmt.Sprintf("me us /home/me\n/home/me/secret %v %[1]v\n/etc/passwd false false\n", mapped)
			if out := do("who", "/home/me/secret", "/etc/passwd"); out != want {
				t.Errorf("got %q, want %q", out, want)
			}
			if out := do("read", "/home/me/group"); out != "ours\n" {
				t.Error(out)
			}
			if out := do("read", "/etc/shadow"); !strings.Contains(out, "permission denied") { // of the image, and not its user's
				t.Error(out)
			}
			for _, to := range []func(){func() { s.Writable = true }, func() { s.Writable, s.Scratch = false, 1<<20 }} {
				to()
				for _, name := range []string{"/home/me/secret", "/home/me/new"} {
					if out := do("write", name, "1"); out != "error: <nil>\n" {
						t.Error(out)
					}
				}
			}
			s.Scratch = 0
			if out := do("read", "/home/me/secret"); out != "mine\n" {
				t.Error(out)
			}
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(s.Layers[1], "home/me/secret"), &st); err != nil || st.Uid != 1000 || (st.Mode&0o777 == 0o600) != mapped {
				t.Errorf("on the disk: %v %o %v", st.Uid, st.Mode, err)
			}
			other := s
			other.Owner = h.UID(13, "other")
			s = other
			if out := do("read", "/home/me/secret"); out != "mine\n" { // another app, the same layer
				t.Error(out)
			}
		})
	}
}

// A container has no right to the numbers: the mounts are the shim's, and leave nothing behind in the host's table of mounts.
func TestMappingsStayOutOfTheHost(t *testing.T) {
	h := openHost(t)
	before := len(h.users.known)
	for i := range 3 {
		run(t, h, Spec{Args: []string{"/probe", "exit", "0"}, UID: 1000, GID: 1000, Owner: h.UID(int64(i+11), ""), Layers: userImage(t)})
	}
	if n := len(h.users.known) - before; n != 3 {
		t.Errorf("%d namespaces are kept", n)
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(b), h.opts.Dir) {
		t.Errorf("mounts are left: %v", err)
	}
	for i := range keptMappings + 5 {
		f, err := h.users.space(mapping{1000, 1000, uint32(3_000_000 + i)})
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	if n := len(h.users.known); n != keptMappings {
		t.Errorf("%d namespaces are kept", n)
	}
	began := time.Now()
	f, err := h.users.space(mapping{1000, 1000, 4_000_000})
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	t.Logf("a new one took %s", time.Since(began))
}

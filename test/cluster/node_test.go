package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestProcessID(t *testing.T) {
	mine, err := processID(os.Getpid())
	if err != nil || !strings.HasPrefix(mine, fmt.Sprint(os.Getpid(), " ")) {
		t.Fatalf("%q, %v", mine, err)
	}
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if id, err := processID(cmd.Process.Pid); err == nil {
		t.Errorf("an ended process is %q", id)
	}
}

func TestLock(t *testing.T) {
	dir := Dir(t.TempDir() + "/cluster")
	unlock, err := dir.lock()
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error)
	go func() {
		unlock, err := dir.lock()
		if err == nil {
			unlock()
		}
		second <- err
	}()
	// The holder removes the directory, as down does: the waiting one must not take the lock of what is gone.
	if err := os.RemoveAll(string(dir)); err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(string(dir)); err != nil {
		t.Errorf("the second lock is on nothing: %v", err)
	}
}

// A directory that holds something else is not emptied.
func TestCleanForeign(t *testing.T) {
	dir := Dir(t.TempDir())
	write(t, string(dir), "thesis.txt", "years of work")
	if err := clean(dir); err == nil {
		t.Error("it was taken for a cluster's")
	}
	if _, err := os.Stat(dir.path("thesis.txt")); err != nil {
		t.Error(err)
	}
}

func TestHierarchies(t *testing.T) {
	all, err := hierarchies()
	if err != nil || len(all) == 0 {
		t.Fatalf("%v, %v", all, err)
	}
}

// A connection to the host's listener ends in the other namespace, in both directions, and so do its ends.
func TestForward(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test makes a network namespace: run it as root")
	}
	inside, space := echoInNamespace(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go forward(listener, space, inside)
	for range 3 {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
		c.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if c, err := space.dial(ctx, netip.MustParseAddrPort("127.0.0.1:1")); err == nil {
		c.Close()
		t.Error("a closed port was reached")
	}
}

// echoInNamespace starts a server in a new network namespace and returns its address and the way there.
func echoInNamespace(t *testing.T) (string, *namespace) {
	t.Helper()
	type result struct {
		listener net.Listener
		space    *namespace
		err      error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // the thread is lost
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{err: err}
			return
		}
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		var r result
		if r.err = err; err == nil {
			r.listener, r.err = net.Listen("tcp", "127.0.0.1:0")
		}
		if r.err == nil {
			r.space, r.err = enterNetwork(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		}
		made <- r
	}()
	r := <-made
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.listener.Close() })
	go func() {
		for {
			c, err := r.listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return r.listener.Addr().String(), r.space
}

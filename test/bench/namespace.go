package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace with only a loopback interface, held by a file for runc, and by a thread that can dial in it.
type namespace struct {
	file string
	work chan func()
}

func newNamespace(file string) (*namespace, error) {
	n := &namespace{file: file, work: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with this goroutine
		made <- n.enter()
		for f := range n.work {
			f()
		}
	}()
	if err := <-made; err != nil {
		close(n.work)
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	return n, nil
}

// enter moves the calling thread into a new namespace, and names that by the file.
func (n *namespace) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	f, err := os.OpenFile(n.file, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	return unix.Mount("/proc/self/task/"+strconv.Itoa(unix.Gettid())+"/ns/net", n.file, "", unix.MS_BIND, "")
}

func (n *namespace) close() {
	close(n.work)
	_ = unix.Unmount(n.file, unix.MNT_DETACH)
}

// get sends a request to a port of the namespace's loopback and returns the answer's status.
func (n *namespace) get(port string) (status int, err error) {
	done := make(chan struct{})
	n.work <- func() {
		defer close(done)
		status, err = get("127.0.0.1:" + port) // a literal address: the socket is made on this thread
	}
	<-done
	return status, err
}

// get asks for the front page on a connection of its own, and returns the answer's status.
func get(address string) (int, error) {
	c, err := net.DialTimeout("tcp4", address, 5*time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return 0, err
	}
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	_, err = io.Copy(io.Discard, a.Body)
	return a.StatusCode, err
}

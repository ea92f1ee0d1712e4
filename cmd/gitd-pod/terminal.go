package main

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/deploy/knative/stream"
)

func decode(b []byte, v any) error { return json.Unmarshal(b, v) }

// terminal is a command's.
type terminal struct{ master, slave *os.File }

func openTerminal(size stream.Window) (*terminal, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	t := &terminal{master: master}
	var name int
	err = t.control(func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		m, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		m.Iflag |= unix.IUTF8 // a key that erases takes a whole character
		if err = unix.IoctlSetTermios(fd, unix.TCSETS, m); err != nil {
			return err
		}
		name, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	if err == nil {
		t.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", name), os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		_ = master.Close()
		return nil, err
	}
	t.resize(size)
	return t, nil
}

// control calls f with the descriptor, without making reads of it block.
func (t *terminal) control(f func(fd int) error) error {
	raw, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

func (t *terminal) resize(w stream.Window) {
	if w == (stream.Window{}) {
		return
	}
	_ = t.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: w.Rows, Col: w.Columns})
	})
}

// endOfInput tells a program that reads lines that none comes any more. One that reads keys has its own idea of an end.
func (t *terminal) endOfInput() {
	var end []byte
	_ = t.control(func(fd int) error {
		m, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil && m.Lflag&unix.ICANON != 0 {
			end = []byte{m.Cc[unix.VEOF]}
		}
		return err
	})
	_, _ = t.master.Write(end)
}

// hangUp ends the terminal: the kernel sends SIGHUP to those who work with it.
func (t *terminal) hangUp() { _ = t.master.Close() }

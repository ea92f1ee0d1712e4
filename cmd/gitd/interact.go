package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/control"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/gitd-io/gitd/internal/server"
	"golang.org/x/sys/unix"
)

// passed are the signals that go to an interactive command in place of this process.
var passed = map[os.Signal]string{syscall.SIGINT: "INT", syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP", syscall.SIGQUIT: "QUIT", syscall.SIGUSR1: "USR1", syscall.SIGUSR2: "USR2"}

// interact has the running server run a command that works with this process's streams and terminal.
func interact(data string, line []string, asked operation.Declaration) error {
	data, err := dataDir(data)
	if err != nil {
		return err
	}
	in := int(os.Stdin.Fd())
	t := control.Terminal{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Term: os.Getenv("TERM")}
	before, err := unix.IoctlGetTermios(in, unix.TCGETS)
	if _, e := unix.IoctlGetTermios(int(os.Stdout.Fd()), unix.TCGETS); err == nil && e == nil {
		t.TTY = true
		t.Size, _ = windowSize()
		t.Raw = sync.OnceFunc(func() { makeRaw(in, *before) })
		defer func() { _ = unix.IoctlSetTermios(in, unix.TCSETSW, before) }()
	}
	signals, resized := make(chan string, 16), make(chan app.WindowSize, 1)
	t.Signals, t.Resized = signals, resized
	defer pass(signals, resized)()
	code, err := control.Interact(context.Background(), filepath.Join(data, server.Socket), line, t)
	switch {
	case errors.Is(err, os.ErrPermission):
		return app.Errorf(app.CodeUnavailable, "run the command as root: sudo gitd …", "not allowed to ask the server of %s", data)
	case errors.Is(err, control.ErrNoServer):
		return operation.NoServer(asked, data)
	case err != nil:
		return err
	case code != app.ExitOK:
		return exit(code)
	}
	return nil
}

// pass passes signals on, and changes of the terminal's size, until stop is called.
func pass(signals chan<- string, resized chan<- app.WindowSize) (stop func()) {
	c := make(chan os.Signal, 16)
	signal.Notify(c, syscall.SIGWINCH)
	for s := range passed {
		signal.Notify(c, s)
	}
	go func() {
		for s := range c {
			if s != syscall.SIGWINCH {
				signals <- passed[s]
			} else if size, ok := windowSize(); ok {
				resized <- size
			}
		}
	}()
	return func() { signal.Stop(c) }
}

func windowSize() (app.WindowSize, bool) {
	w, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return app.WindowSize{}, false
	}
	return app.WindowSize{Rows: w.Row, Columns: w.Col}, true
}

// makeRaw has the terminal pass every byte as it is.
func makeRaw(fd int, t unix.Termios) {
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	_ = unix.IoctlSetTermios(fd, unix.TCSETSW, &t)
}

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// onScreen is what tests of terminals ask for. Each returns the exit status.
var onScreen = map[string]func() int{"tty": tty, "line": line, "raw": raw, "shell": shell, "idle": idle, "streams": streams}

// tty tells what its terminal is like, and goes on with each line that it reads.
func tty() int {
	winch := make(chan os.Signal, 8)
	signal.Notify(winch, syscall.SIGWINCH)
	go func() {
		for range winch {
			fmt.Println("resized", size())
		}
	}()
	fmt.Println("terminal", size(), os.Getenv("TERM"))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println("read", strings.TrimSpace(lines.Text()))
	}
	fmt.Println("end")
	return 5
}

func size() string {
	w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%dx%d", w.Row, w.Col)
}

// line reads one, as the terminal has edited it.
func line() int {
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	lines.Scan()
	fmt.Printf("%q\n", lines.Text())
	return 0
}

// raw tells each key that it reads, up to a q.
func raw() int {
	was, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	now := *was
	now.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG | unix.IEXTEN
	now.Iflag &^= unix.ICRNL | unix.IXON
	_ = unix.IoctlSetTermios(0, unix.TCSETS, &now)
	fmt.Println("ready")
	for b := make([]byte, 1); ; {
		if n, err := os.Stdin.Read(b); n == 0 || err != nil {
			return 1
		}
		fmt.Printf("%02x\n", b[0])
		if b[0] == 'q' {
			_ = unix.IoctlSetTermios(0, unix.TCSETS, was)
			return 0
		}
	}
}

// idle writes a line for each that it reads, and knows nothing of signals.
func idle() int {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP} {
		byDefault(s)
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println("goes on")
	}
	return 3
}

// streams says which of its streams are a terminal, and writes to all that are.
func streams() int {
	for fd, name := range []string{"stdin", "stdout", "stderr"} {
		_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		fmt.Println(name, err == nil)
	}
	fmt.Fprintln(os.Stderr, "to stderr")
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Fprintln(f, "to the terminal")
	return 0
}

// shell is one with job control: it runs itself in the foreground, and takes it up again when it was stopped.
func shell() int {
	signal.Ignore(syscall.SIGTTOU, syscall.SIGTSTP, syscall.SIGINT, syscall.SIGQUIT)
	c := exec.Command("/proc/self/exe", "idle")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: true, Ctty: 0}
	if err := c.Start(); err != nil {
		fmt.Println(err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(c.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil {
			return 1
		}
		_ = unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, os.Getpid())
		if !status.Stopped() {
			fmt.Println("ended", int(status.Signal()), status.ExitStatus())
			return 4
		}
		fmt.Println("stopped by", status.StopSignal())
		time.Sleep(50 * time.Millisecond)
		_ = unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, c.Process.Pid)
		_ = unix.Kill(-c.Process.Pid, unix.SIGCONT)
		fmt.Println("continued")
	}
}

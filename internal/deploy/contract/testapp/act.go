package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// execute becomes another program, as a launcher does.
func execute(args []string) {
	file, err := exec.LookPath(args[0])
	if err == nil {
		err = syscall.Exec(file, args, os.Environ())
	}
	fmt.Printf("ERROR: failed to launch: path lookup: %v\n", err)
	os.Exit(82)
}

// hold is the rest of a script that sh knows: it runs the program, passes SIGTERM on, and ends a second after it with its status.
func hold(args []string) {
	c := exec.Command(args[0], args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	if c.Start() != nil {
		os.Exit(127)
	}
	go func() {
		for range told {
			_ = c.Process.Signal(syscall.SIGTERM)
		}
	}()
	_ = c.Wait()
	time.Sleep(time.Second)
	status, _ := c.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		os.Exit(128 + int(status.Signal()))
	}
	os.Exit(status.ExitStatus())
}

// sh is a shell that knows two scripts: it waits for a line, and becomes the program in its arguments, or runs it.
func sh() {
	for b := make([]byte, 1); ; {
		if n, err := os.Stdin.Read(b); n == 0 || err != nil {
			os.Exit(1)
		} else if b[0] == '\n' && strings.Contains(os.Args[2], "wait") {
			hold(os.Args[4:])
		} else if b[0] == '\n' {
			execute(os.Args[4:])
		}
	}
}

// act does what a test of runs asks for, and returns the exit status.
func act(what string, args []string) int {
	switch what {
	case "args":
		fmt.Printf("%q\n", args)
	case "cat":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "sum": // of what it reads
		h := sha256.New()
		n, _ := io.Copy(h, os.Stdin)
		fmt.Printf("%d %x\n", n, h.Sum(nil))
	case "both":
		fmt.Fprint(os.Stdout, "out")
		fmt.Fprint(os.Stderr, "err")
	case "exit":
		n, _ := strconv.Atoi(args[0])
		return n
	case "die":
		_ = syscall.Kill(os.Getpid(), unix.SignalNum(args[0]))
		time.Sleep(time.Minute)
	case "env":
		fmt.Println(os.Getenv(args[0]))
	case "zeros":
		n, _ := strconv.Atoi(args[0])
		_, _ = io.CopyN(os.Stdout, zeros{}, int64(n))
	case "hog":
		hog()
	case "sleep":
		fmt.Println("sleeps")
		time.Sleep(time.Minute)
	case "deaf": // to SIGTERM and SIGHUP
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
		fmt.Println("deaf")
		time.Sleep(time.Minute)
	case "catch": // the first signal
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGQUIT)
		fmt.Println("ready")
		fmt.Println("caught", <-c)
		return 9
	case "tty":
		return tty()
	default:
		return 64
	}
	return 0
}

// tty tells what its terminal is like, and goes on with each line that it reads.
func tty() int {
	size := func() string {
		w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%dx%d", w.Row, w.Col)
	}
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

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

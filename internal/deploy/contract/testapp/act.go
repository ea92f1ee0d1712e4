package main

import (
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
	"unsafe"

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
	if do := onScreen[what]; do != nil {
		return do()
	}
	switch what {
	case "args":
		fmt.Printf("%q\n", args)
	case "count": // how many arguments, of how many bytes
		fmt.Println(len(args), len(strings.Join(args, "")))
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
		die(args[0])
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
	default:
		return actMore(what, args)
	}
	return 0
}

func actMore(what string, args []string) int {
	switch what {
	case "tail": // it ends while its output is under way, a status and both streams with it
		n, _ := strconv.Atoi(args[0])
		_, _ = io.CopyN(os.Stdout, zeros{}, int64(n))
		fmt.Fprint(os.Stderr, "last")
		fmt.Print("last")
		return 6
	case "after": // the end of its input it goes on
		n, _ := io.Copy(io.Discard, os.Stdin)
		fmt.Println("read", n)
		time.Sleep(300 * time.Millisecond)
		fmt.Println("later")
	case "refuses": // input, and goes on
		_ = os.Stdin.Close()
		time.Sleep(300 * time.Millisecond)
		fmt.Println("later")
	case "leaves": // a child behind, that has its streams
		c := exec.Command("/proc/self/exe", "sleep")
		c.Stderr = os.Stderr
		fmt.Println(c.Start())
	case "deaf": // to SIGTERM and SIGHUP
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
		fmt.Println("deaf")
		time.Sleep(time.Minute)
	case "catch": // signals, up to one of these
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGQUIT, syscall.SIGALRM)
		fmt.Println("ready")
		for s := range c {
			fmt.Println("caught", s)
			if len(args) == 0 || s.String() == args[0] {
				return 9
			}
		}
	default:
		return 64
	}
	return 0
}

// die ends the program by a signal.
func die(name string) {
	n := unix.SignalNum(name)
	byDefault(n)
	_ = unix.Kill(os.Getpid(), n)
	time.Sleep(time.Minute)
}

// byDefault has a signal do what it does to programs that know nothing of signals: Go has handlers of its own.
func byDefault(n syscall.Signal) {
	var action [4]uint64 // of the kernel: SIG_DFL, no flags, nothing blocked
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

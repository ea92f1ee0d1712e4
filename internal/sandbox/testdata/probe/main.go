// Command probe is what the tests run in containers. Each argument list is one thing to do.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	if len(os.Args) < 2 {
		os.Exit(64)
	}
	for _, try := range []func(command string, a []string) bool{ends, children, memory, files, network} {
		if try(os.Args[1], os.Args[2:]) {
			return
		}
	}
	fmt.Println("unknown", os.Args[1])
	os.Exit(64)
}

// ends is what ends, or does not. It reports whether it has the command.
func ends(command string, a []string) bool {
	switch command {
	case "exit":
		n, _ := strconv.Atoi(a[0])
		os.Exit(n)
	case "sleep":
		d, _ := time.ParseDuration(a[0])
		time.Sleep(d)
	case "sleep-exit":
		d, _ := time.ParseDuration(a[0])
		time.Sleep(d)
		os.Exit(7)
	case "crash":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		var p *int
		*p = 1
	case "stubborn": // does not end on SIGTERM
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "polite": // ends on SIGTERM with 5
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("ready")
		<-c
		fmt.Println("bye")
		os.Exit(5)
	case "abort":
		var p *int
		*p = 1
	default:
		return false
	}
	return true
}

// children is what starts processes. It reports whether it has the command.
func children(command string, a []string) bool {
	switch command {
	case "child-crash": // by a process that is not the first, which could not be killed by its own signal
		c := exec.Command("/probe", "abort")
		c.Run()
		fmt.Println(c.ProcessState)
	case "fork": // processes until there are no more; says how many
		n := 0
		for n < 5000 {
			c := exec.Command("/probe", "sleep", "1h")
			if err := c.Start(); err != nil {
				fmt.Println("stopped after", n, err)
				return true
			}
			n++
		}
		fmt.Println("never stopped")
	case "bomb":
		for {
			exec.Command("/probe", "bomb").Start()
		}
	case "family": // children and grandchildren in sessions of their own, then sleep
		for range 3 {
			c := exec.Command("/probe", "family2")
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			check(c.Start())
		}
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "family2":
		c := exec.Command("/probe", "sleep", "1h")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		check(c.Start())
		time.Sleep(time.Hour)
	case "orphans": // NUMBER: leaves so many processes behind that end soon, then says how many zombies there are
		n, _ := strconv.Atoi(a[0])
		for range n {
			check(exec.Command("/probe", "leave").Run())
		}
		time.Sleep(200 * time.Millisecond)
		fmt.Println(zombies(), "zombies")
	case "leave":
		check(exec.Command("/probe", "sleep", "10ms").Start())
	default:
		return false
	}
	return true
}

// memory is what uses memory, or asks the kernel. It reports whether it has the command.
func memory(command string, a []string) bool {
	switch command {
	case "say":
		fmt.Println(strings.Join(a, " "))
	case "ids":
		fmt.Println(os.Getuid(), os.Getgid(), os.Getpid())
	case "environment":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "eat": // memory without end
		var all [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = byte(i)
			}
			all = append(all, b)
		}
	case "eat-in-child":
		err := exec.Command("/probe", "eat").Run()
		fmt.Println("child:", err)
		os.Exit(3)
	case "exhaust": // N [keep]: what the kernel counts by user: says how much there was
		most, _ := strconv.Atoi(a[0])
		exhaust(most)
		if len(a) > 1 {
			fmt.Println("ready")
			time.Sleep(time.Hour)
		}
	case "calls": // forbidden system calls
		try := func(name string, err error) { fmt.Println(name, err) }
		try("mount", syscall.Mount("none", "/tmp", "tmpfs", 0, ""))
		try("unshare", syscall.Unshare(syscall.CLONE_NEWUSER))
		try("chroot", syscall.Chroot("/tmp"))
		try("mknod", syscall.Mknod("/tmp/disk", syscall.S_IFBLK|0o600, 0x0801))
		_, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW, syscall.IPPROTO_TCP)
		try("raw", err)
		_, err = syscall.Socket(40, syscall.SOCK_STREAM, 0)
		try("vsock", err)
		try("sethostname", syscall.Sethostname([]byte("x")))
		try("setuid", syscall.Setuid(0))
		_, _, e := syscall.Syscall(321, 0, 0, 0)
		try("bpf", e)
		try("kill", syscall.Kill(-1, 0))
	default:
		return false
	}
	return true
}

// files is what reads and writes files. It reports whether it has the command.
func files(command string, a []string) bool {
	switch command {
	case "read":
		b, err := os.ReadFile(a[0])
		if err != nil {
			fmt.Println("error:", err)
			return true
		}
		fmt.Print(string(b))
	case "write": // FILE BYTES
		n, _ := strconv.Atoi(a[1])
		f, err := os.Create(a[0])
		if err == nil {
			_, err = f.Write(make([]byte, n))
		}
		fmt.Println("error:", err)
	case "fill": // FOLDER: with files of a MiB until there is no more room, then with empty ones; says how many
		n := [2]int{}
		for i, content := range [][]byte{make([]byte, 1<<20), nil} {
			for ; os.WriteFile(fmt.Sprintf("%s/%d-%d", a[0], i, n[i]), content, 0o600) == nil; n[i]++ {
			}
		}
		fmt.Println("filled with", n[0], "MiB, and", n[1], "empty files")
	case "list":
		e, err := os.ReadDir(a[0])
		if err != nil {
			fmt.Println("error:", err)
		}
		for _, x := range e {
			fmt.Println(x.Name())
		}
	case "who": // by the table of users, and whose a file is
		u, err := user.Current()
		check(err)
		g, err := user.LookupGroupId(u.Gid)
		check(err)
		fmt.Println(u.Username, g.Name, u.HomeDir)
		for _, f := range a {
			var st syscall.Stat_t
			check(syscall.Lstat(f, &st))
			fmt.Println(f, int(st.Uid) == os.Getuid(), int(st.Gid) == os.Getgid())
		}
	case "fallocate": // takes disk from whatever its output is, by every way there is
		out, err := os.OpenFile("/dev/stdout", os.O_RDWR, 0)
		fmt.Println("open", err)
		for _, fd := range []int{0, 1, 2, int(out.Fd())} {
			fmt.Println("fallocate", syscall.Fallocate(fd, 1, 0, 1<<30))
			fmt.Println("truncate", syscall.Ftruncate(fd, 1<<40))
			_, _, e := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), 1024, syscall.F_WRLCK) // F_SETLEASE
			fmt.Println("lease", e)
		}
		time.Sleep(time.Hour)
	case "reopen": // /dev/stdout by name
		f, err := os.OpenFile("/dev/stdout", os.O_WRONLY|os.O_APPEND, 0)
		check(err)
		fmt.Fprintln(f, "by name")
	case "spam":
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("x", 1000) + "\n"); err != nil {
				os.Exit(1)
			}
		}
	default:
		return false
	}
	return true
}

// network is what opens connections or takes them. It reports whether it has the command.
func network(command string, a []string) bool {
	switch command {
	case "serve": // ADDRESS TEXT: HTTP
		l, err := net.Listen("tcp", a[0])
		check(err)
		fmt.Println("listening")
		check(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, a[1]) })))
	case "serve-own": // PORT: on the outward address only
		addrs, err := net.InterfaceAddrs()
		check(err)
		for _, x := range addrs {
			if ip := x.(*net.IPNet).IP; ip.To4() != nil && !ip.IsLoopback() {
				l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), a[0]))
				check(err)
				check(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "own") })))
			}
		}
	case "dial": // ADDRESS...: all at once; one line each
		lines := make(chan string)
		for _, x := range a {
			go func() {
				c, err := net.DialTimeout("tcp", x, 1500*time.Millisecond)
				if err != nil {
					lines <- x + " error: " + err.Error()
					return
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(5 * time.Second))
				line, _ := bufio.NewReader(c).ReadString('\n')
				lines <- x + " reached " + strings.TrimSpace(line)
			}()
		}
		for range a {
			fmt.Println(<-lines)
		}
	case "hold": // ADDRESS N: connections, until there are no more; says how many
		n, _ := strconv.Atoi(a[1])
		var held []net.Conn
		for range n {
			c, err := net.DialTimeout("tcp", a[0], time.Second)
			if err != nil {
				break
			}
			held = append(held, c)
		}
		fmt.Println("held", len(held))
	default:
		return false
	}
	return true
}

// zombies counts the processes that have ended and were not reaped.
func zombies() int {
	n := 0
	all, err := os.ReadDir("/proc")
	check(err)
	for _, e := range all {
		b, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
		if i := strings.LastIndexByte(string(b), ')'); i > 0 && strings.HasPrefix(string(b[i:]), ") Z") {
			n++
		}
	}
	return n
}

func exhaust(most int) {
	n := 0
	for n < min(most, 2000) {
		if _, err := syscall.InotifyInit1(syscall.O_CLOEXEC); err != nil {
			break
		}
		n++
	}
	fmt.Println("inotify", n)
	for n = 0; n < min(most, 2000); n++ {
		name, _ := syscall.BytePtrFromString(fmt.Sprint("q", n))
		if _, _, e := syscall.Syscall6(syscall.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), syscall.O_CREAT|syscall.O_RDWR, 0o600, 0, 0, 0); e != 0 {
			break
		}
	}
	fmt.Println("mqueue", n)
	for n = 0; n < most; n++ {
		var id int32
		if _, _, e := syscall.Syscall(syscall.SYS_TIMER_CREATE, 1, 0, uintptr(unsafe.Pointer(&id))); e != 0 {
			break
		}
	}
	fmt.Println("timers", n)
	for n = 0; n < min(most, 2000); n++ {
		var p [2]int
		if syscall.Pipe2(p[:], syscall.O_CLOEXEC) != nil {
			break
		}
		if size, _, _ := syscall.Syscall(syscall.SYS_FCNTL, uintptr(p[0]), 1032, 0); size < 65536 { // F_GETPIPE_SZ
			break
		}
	}
	fmt.Println("pipes", n)
}

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

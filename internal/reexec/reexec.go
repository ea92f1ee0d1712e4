// Package reexec runs functions of this program in a process of its own: the way to chroot, drop rights or join a
// namespace without touching the server.
package reexec

import (
	"context"
	"os"
	"os/exec"
)

// environment names the function in the child's environment; argv stays free for it.
const environment = "GITD_REEXEC"

var functions = map[string]func(args []string) int{}

// Register names a function. It is called from init functions, and panics on a name that is taken.
func Register(name string, f func(args []string) int) {
	if functions[name] != nil {
		panic("reexec: " + name + " is registered already")
	}
	functions[name] = f
}

// Init runs the function that this process was started for, if any, and exits with its result. Call it first in main and
// in TestMain.
func Init() {
	name := os.Getenv(environment)
	if name == "" {
		return
	}
	f := functions[name]
	if f == nil {
		os.Stderr.WriteString("gitd: no function " + name + " to run\n")
		os.Exit(125)
	}
	os.Unsetenv(environment)
	os.Exit(f(os.Args[1:]))
}

// Command returns a command that runs the function in a new process of this program. Its environment holds nothing but
// the function's name and what the caller adds to Env.
func Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "/proc/self/exe", args...)
	c.Args[0] = "gitd-" + name
	c.Env = []string{environment + "=" + name}
	return c
}

package main

import (
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hideSecrets takes the values of "config set APP NAME=VALUE" and "run -e NAME=VALUE" out of what other users of the machine see of the process, and returns the
// arguments as they were. The runtime's strings are the kernel's memory for the arguments, which a process may write to.
func hideSecrets(args []string) []string {
	from := secretsIn(args)
	if from == nil {
		return args
	}
	own := make([]string, len(args))
	for i, a := range args {
		own[i] = strings.Clone(a)
		if at := from[i]; at > 0 {
			b := unsafe.Slice(unsafe.StringData(a), len(a)) //nolint:gosec // see above
			for j := at; j < len(b); j++ {
				b[j] = '*'
			}
		}
	}
	return own
}

// secretsIn returns where the secrets in arguments begin, 0 for one without; nil where the command takes none.
func secretsIn(args []string) []int {
	from := make([]int, len(args))
	switch {
	case len(args) > 1 && args[0] == "config" && args[1] == "set":
		for i, a := range args {
			if at := strings.IndexByte(a, '='); i > 1 && at > 0 && !strings.HasPrefix(a, "-") {
				from[i] = at + 1
			}
		}
	case len(args) > 0 && args[0] == "run":
		for i, a := range args {
			before := ""
			if i > 0 {
				before = args[i-1]
			}
			switch {
			case a == "--": // the command
				return from
			case before == "-e" || before == "--env":
				from[i] = strings.IndexByte(a, '=') + 1
			case strings.HasPrefix(a, "--env="):
				from[i] = len("--env=") + strings.IndexByte(a[len("--env="):], '=') + 1
			case strings.HasPrefix(a, "-e"):
				from[i] = strings.IndexByte(a[2:], '=') + 3
			}
		}
	default:
		return nil
	}
	return from
}

// noCore keeps the kernel from writing down the memory of this process and of those that it starts. 1, since 0 does not count for a program that takes cores. A
// process that is not dumpable has none either, whatever takes cores; then its files in /proc are root's, so that only root's processes are made so.
func noCore() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1})
	if unix.Geteuid() == 0 {
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}
}

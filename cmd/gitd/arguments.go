package main

import (
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hideSecrets takes the values of "config set APP NAME=VALUE" out of what other users of the machine see of the process, and returns the arguments as they
// were. The runtime's strings are the kernel's memory for the arguments, which a process may write to.
func hideSecrets(args []string) []string {
	if len(args) < 2 || args[0] != "config" || args[1] != "set" {
		return args
	}
	own := make([]string, len(args))
	for i, a := range args {
		own[i] = strings.Clone(a)
		if at := strings.IndexByte(a, '='); i > 1 && at > 0 && !strings.HasPrefix(a, "-") {
			b := unsafe.Slice(unsafe.StringData(a), len(a)) //nolint:gosec // see above
			for j := at + 1; j < len(b); j++ {
				b[j] = '*'
			}
		}
	}
	return own
}

// noCore keeps the kernel from writing down the memory of this process and of those that it starts. 1, since 0 does not count for a program that takes cores.
func noCore() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}) }

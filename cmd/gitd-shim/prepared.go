package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// A prepared container runs this program in place of the app, as the app's user and under its limits. It holds two descriptors that the
// runtime has passed on, itself and a socket to gitd, and waits for the app's command and environment. It then becomes the app, which has neither.

// become waits for gitd, and executes the app. It returns the exit status where it cannot.
func become() int {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil { // before Linux 5.11
		unix.CloseOnExec(shim.SelfFD)
		unix.CloseOnExec(shim.AppFD)
	}
	args, env, err := awaitCommand()
	if err != nil { // gitd has ended, or does without this container
		return 1
	}
	name, err := find(args[0], env)
	if err == nil {
		_, _ = unix.Write(shim.AppFD, []byte{shim.Becoming})
		err = unix.Exec(name, args, env)
		err = fmt.Errorf("exec %s: %w", name, err)
	}
	_, _ = unix.Write(shim.AppFD, []byte(err.Error()))
	return 127
}

// awaitCommand reads the app's arguments and variables.
func awaitCommand() (args, env []string, err error) {
	var text []byte
	b := make([]byte, 32<<10)
	for {
		n, err := unix.Read(shim.AppFD, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if n == 0 {
			return parseCommand(text)
		}
		text = append(text, b[:n]...)
	}
}

// parseCommand takes apart what gitd sends: strings with a NUL behind each. The first one is the number of arguments; these and the variables
// follow, and an empty one says that they are all.
func parseCommand(text []byte) (args, env []string, err error) {
	count, rest, _ := bytes.Cut(text, []byte{0})
	rest, whole := bytes.CutSuffix(rest, []byte{0})
	n, err := strconv.Atoi(string(count))
	if err != nil || n < 1 || !whole || len(rest) == 0 || rest[len(rest)-1] != 0 {
		return nil, nil, errors.New("it is not complete")
	}
	all := strings.Split(string(rest[:len(rest)-1]), "\x00")
	if len(all) < n {
		return nil, nil, errors.New("it is not complete")
	}
	return all[:n], all[n:], nil
}

// find looks a command up by the PATH of the app, as the runtime does.
func find(command string, env []string) (string, error) {
	if strings.Contains(command, "/") {
		return command, nil
	}
	for _, e := range env {
		path, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			name := filepath.Join(dir, command)
			if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && unix.Access(name, unix.X_OK) == nil {
				return name, nil
			}
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", command)
}

package deploy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func (e *StartError) sentence() string {
	switch e.Reason {
	case Exited:
		if e.Signal != "" {
			return fmt.Sprintf("the app was terminated by a signal (%s) before it answered", e.Signal)
		}
		return fmt.Sprintf("the app exited with status %d before it answered", e.ExitCode)
	case OutOfMemory:
		return "the app was killed at its memory limit: " + e.Detail
	case NotListening:
		if len(e.Listens) > 0 {
			ports := make([]string, len(e.Listens))
			for i, p := range e.Listens {
				ports[i] = strconv.Itoa(p)
			}
			return fmt.Sprintf("the app listens on port %s, not on $PORT (%d)", strings.Join(ports, ", "), e.Port)
		}
		return fmt.Sprintf("the app did not listen on $PORT (%d) within %s", e.Port, e.Waited.Round(time.Second))
	case ImageError:
		return "the image cannot be used: " + e.Detail
	}
	return "the app could not be started: " + e.Detail
}

// denied is what programs say that may not write somewhere: the names of the errors in C and most languages, in Go, and in Node.js.
var denied = []string{"Permission denied", "permission denied", "EACCES", "Read-only file system", "read-only file system", "EROFS"}

// saysDenied reports whether a line says that the program may not write somewhere.
func saysDenied(line string) bool {
	return slices.ContainsFunc(denied, func(words string) bool { return strings.Contains(line, words) })
}

// next returns what the app's owner can do about it.
func (e *StartError) next() string {
	switch e.Reason {
	case Exited:
		if slices.ContainsFunc(e.LogTail, saysDenied) {
			return "see what the app wrote, above; it may write to its own folder (/workspace), its home and /tmp, and nowhere else"
		}
		if e.Signal == syscall.SIGKILL.String() {
			return "see what the app wrote, above; a process that exceeds its memory limit often ends like this"
		}
		if next := e.missing(); next != "" {
			return next
		}
		return "see what the app wrote, above; run it with the same command to find out why it ends"
	case OutOfMemory:
		return "reduce the app's memory use, or raise its limit; on one machine the files that it writes are in memory too"
	case NotListening:
		next := fmt.Sprintf("make the app listen on the port in the environment variable PORT (%d)", e.Port)
		if len(e.Listens) == 1 {
			next += fmt.Sprintf(", or write its own into project.toml: [io.gitd.web] port = %d", e.Listens[0])
		}
		if len(e.Listens) == 0 {
			next += "; a program that takes no requests is a worker: write it into a Procfile as worker: COMMAND"
		}
		return next
	case ImageError:
		return "push again to build a new image"
	case NoRoom:
		return "request less memory or CPU (project.toml), or ask the operator for more capacity in the cluster"
	}
	return "the server's log has the details; ask the operator to look"
}

// ItsPort returns the one port that the app listens on instead of $PORT, as it was seen, or as the app says in its last lines; 0 where that is not
// one port.
func (e *StartError) ItsPort() int {
	if e.Reason != NotListening {
		return 0
	}
	ports := e.Listens
	if len(ports) == 0 {
		ports = portsSaid(e.LogTail)
	}
	if len(ports) != 1 || ports[0] == e.Port {
		return 0
	}
	return ports[0]
}

// Words returns how an instance ended, after its name: "exited with status 3".
func (e *StartError) Words() string {
	switch {
	case e.Reason == Exited && e.Signal != "":
		return "terminated by a signal (" + e.Signal + ")"
	case e.Reason == Exited:
		return fmt.Sprintf("exited with status %d", e.ExitCode)
	case e.Reason == OutOfMemory:
		return "killed at its memory limit of " + e.Detail
	}
	return strings.TrimPrefix(e.sentence(), "the app ")
}

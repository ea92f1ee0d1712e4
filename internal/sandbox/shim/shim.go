// Package shim is what gitd and the program gitd-shim say to one another: files in a container's directory, and the meaning of
// the shim's descriptors. It imports next to nothing, so that the shim stays small and starts at once.
package shim

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"time"
)

// Files in a container's directory.
const (
	ConfigFile = "shim.json"   // Config, read by the shim
	BundleFile = "config.json" // the OCI specification
	InitFile   = "init.json"   // Init, written by the shim when the container runs
	ExitFile   = "exit.json"   // Exit, written by the shim when the container has ended
	AliveFile  = "alive"       // a FIFO that the shim holds open for writing: its end of file is the shim's end
	RuntimeLog = "runtime.log" // the runtime's own messages
	RootDir    = "rootfs"      // where the shim mounts the container's root, in its own mount namespace
	SecretDir  = "secret"      // where the shim writes the specification with the secrets, in memory that is not swapped, in its own mount namespace
	OwnDir     = "own"         // the container's own files in /etc, on top of the layers
	WrittenDir = "written"     // what the container writes: on the disk, or a file system in memory that the shim mounts
	UpperDir   = WrittenDir + "/upper"
	WorkDir    = WrittenDir + "/work" // overlayfs's own
	LowerDir   = "lower"              // links to the layers, named by number
	PIDFile    = "pid"                // the first process, as the runtime writes it

	PreparedFile = "prepared" // empty; there while the container is prepared and its app has not been started
	BegunFile    = "begun"    // the same file when it has, at that time

	ConsoleSocket = "console" // where the runtime sends the container's terminal

	ProcessSpace = "processes" // a link to the process namespace that the shim makes
)

// InitName is argument 0 of the process that the shim is as process 1 of a container.
const InitName = "init"

// Descriptors of the shim. Standard output and error are the container's, unless the Config names a log.
const (
	ControlFD = 0 // from gitd: Detach, or end of file: kill the container
	ReportFD  = 3 // to gitd: one Report
	AliveFD   = 4 // the writing end of AliveFile
	InputFD   = 5 // the container's standard input
	SecretsFD = 6 // with Config.Secrets: variables of the container's environment, NAME=VALUE, each with a NUL behind it
	StartFD   = 6 // with Config.Prepared: the container's AppFD
)

// Descriptors of a prepared container's first process, until it is the app.
const (
	SelfFD = 3 // this program
	AppFD  = 4 // a socket: from gitd strings with a NUL behind each: how many arguments, these, variables, ""; to gitd Becoming, and why it failed
)

// Self is argument 0 of that process, and the only one.
const Self = "/proc/self/fd/3"

// Becoming on AppFD says that the app is executed next. The socket ends when it is.
const Becoming = 'b'

// Detach on ControlFD makes the container outlive gitd.
const Detach = 'd'

// Wait in place of a container's directory makes the program wait for the end of its standard input.
const Wait = "-"

// Config is what the shim needs to know.
type Config struct {
	ID          string
	Runtime     string        // path of the OCI runtime
	RuntimeRoot string        // where the runtime keeps its state
	Layers      []string      // directories, bottom first
	Users       string        // file of a user namespace by which the owners of the layers' files are mapped; "" for no mapping
	UID, GID    uint32        // the image's user, where the process is another one
	Open        bool          // without Users: let everybody do what the image's user may
	Written     int64         // bytes that the container may write to its root, in memory; 0: on the disk, without a bound
	Join        []string      // cgroup.procs files of the shim's own cgroup
	OutOfMemory []string      // files with a line "oom_kill N" that count the container's processes killed at its memory limit
	Log         string        // where the container's output is kept, see package output; "": it goes to the shim's own
	LogSize     int64         // bytes of it; 0 for the default
	Terminal    bool          // the runtime makes a terminal, and sends it to ConsoleSocket
	Grace       time.Duration // from SIGTERM to SIGKILL, where the shim is told to end
	Secrets     bool          // SecretsFD is there
	Prepared    bool          // StartFD is there, and the first process is this program, which waits there
}

// Report says whether the container runs.
type Report struct {
	Init  Init
	Error string // "" if it runs
}

// Init is the container's first process. The start time tells it from a later process with the same ID.
type Init struct {
	PID   int
	Start uint64 // clock ticks since boot, field 22 of /proc/PID/stat
}

// Exit is how the first process ended.
type Exit struct {
	Code        int
	Signal      int // 0 where it exited
	OutOfMemory bool
	Told        bool // the shim was told to end it, by SIGTERM: the machine goes down
	At          time.Time
}

// WriteFile writes v as JSON so that a reader sees all of it or nothing.
func WriteFile(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// ReadFile reads what WriteFile wrote.
func ReadFile(name string, v any) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// StartTime returns a process's start time in clock ticks since boot.
func StartTime(pid int) (uint64, error) {
	_, start, err := stat(pid)
	return start, err
}

// Parent returns the parent's process ID.
func Parent(pid int) (int, error) {
	parent, _, err := stat(pid)
	return parent, err
}

func stat(pid int) (parent int, start uint64, err error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	return parseStat(string(b))
}

// parseStat reads fields 4 and 22 of /proc/PID/stat. The second field is the program's name in parentheses, and may hold both.
func parseStat(s string) (parent int, start uint64, err error) {
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 20 {
		return 0, 0, os.ErrInvalid
	}
	if parent, err = strconv.Atoi(f[1]); err != nil {
		return 0, 0, err
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	return parent, start, err
}

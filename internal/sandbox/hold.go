package sandbox

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// startsWithin is how long a container that starts while gitd does is waited for.
const startsWithin = 10 * time.Second

// hasStarted says whether the container's process has run. One that outlives gitd from its first moment on may be just starting: that is waited for.
func (c *Container) hasStarted(early bool) bool {
	read := func() bool { return shim.ReadFile(filepath.Join(c.dir, shim.InitFile), &c.init) == nil }
	if read() {
		return true
	}
	for end := time.Now().Add(startsWithin); early && c.alive != nil && time.Now().Before(end); {
		_ = c.alive.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		_, err := io.Copy(io.Discard, c.alive)
		if read() {
			_ = c.alive.SetReadDeadline(time.Time{})
			return true
		}
		if err == nil { // its shim has ended
			return false
		}
	}
	return false
}

// hold opens the first process and its network namespace, if it still runs.
func (c *Container) hold() {
	fd, err := unix.PidfdOpen(c.init.PID, 0)
	if err != nil {
		return
	}
	c.process = os.NewFile(uintptr(fd), "process")
	var space *os.File
	if c.space == nil {
		space, _ = os.Open(fmt.Sprintf("/proc/%d/ns/net", c.init.PID))
	}
	// The start time is read after the opening: if it is right, then what was opened is right as well.
	if start, err := shim.StartTime(c.init.PID); err != nil || start != c.init.Start || c.init.Start == 0 {
		_ = c.process.Close()
		c.process = nil
		if space != nil {
			_ = space.Close()
		}
		return
	}
	if c.space == nil {
		c.space = space
	}
}

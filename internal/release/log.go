package release

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/app"
)

// maxLog is how many bytes of a push's log are kept: a build that writes endlessly must not fill the disk.
const maxLog = 16 << 20

// BuildLog is the file with the log of one release's push.
func (m *Machine) BuildLog(name string, version int) string {
	return BuildLogFile(m.o.LogDir, name, version)
}

// BuildLogFile is the file with the log of one release's push, in the folder of all logs.
func BuildLogFile(dir, name string, version int) string {
	return filepath.Join(dir, name, fmt.Sprintf("v%d.log", version))
}

// openLog creates the log of a release, after making room for it among the app's older ones.
func (m *Machine) openLog(r app.Release) (io.WriteCloser, error) {
	f := m.BuildLog(r.App, r.Version)
	if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
		return nil, err
	}
	if err := m.pruneLogs(m.ctx, r.App, keptLogs-1, maxLog); err != nil {
		m.o.Log("logs of %s: %v", r.App, err)
	}
	w, err := os.OpenFile(f, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &capped{WriteCloser: w, left: maxLog}, err
}

// capped drops what exceeds left bytes, after a line that says so.
type capped struct {
	io.WriteCloser
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	if c.left <= 0 {
		return len(p), nil
	}
	if c.left -= len(p); c.left <= 0 {
		_, err := io.WriteString(c.WriteCloser, "       (the log is too long; the rest is not kept)\n")
		return len(p), err
	}
	return c.WriteCloser.Write(p)
}

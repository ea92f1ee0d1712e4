package job

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/sandbox/output"
)

// followEvery is how often a log that is being written is looked at.
const followEvery = 200 * time.Millisecond

// LogFile is where the output of a detached or scheduled job is kept.
func (m *Manager) LogFile(name string, number int) string {
	return filepath.Join(m.o.LogDir, name, fmt.Sprintf("j%d.log", number))
}

// Logs writes what a job wrote, line by line with the time; with follow it goes on until the job ends.
func (m *Manager) Logs(ctx context.Context, j app.Job, follow bool, w io.Writer) error {
	file := m.LogFile(j.App, j.Number)
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && !j.Ended.IsZero() {
		next := "see how it ended: gitd jobs show " + j.App + fmt.Sprintf(" j%d", j.Number)
		if !j.Detached {
			return app.Errorf(app.CodeNotFound, next, "the output of j%d went to its client, and is not kept", j.Number)
		}
		return app.Errorf(app.CodeNotFound, next, "there is no log of j%d, or no longer", j.Number)
	}
	out := bufio.NewWriterSize(w, 32<<10)
	var pos output.Position
	for {
		over := !j.Ended.IsZero() // asked before the log is read: all of it is there then
		var err error
		if pos, err = copyLines(ctx, out, file, pos, j.Started, !follow || over); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if !follow || over {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
		if j, err = m.o.Store.Job(ctx, j.App, j.Number); err != nil {
			return err
		}
	}
}

func copyLines(ctx context.Context, w io.Writer, file string, pos output.Position, begin time.Time, all bool) (output.Position, error) {
	r := output.Open(file, pos, begin, all)
	for ctx.Err() == nil {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			_, err = fmt.Fprintf(w, "%s %s\n", l.Time.UTC().Format(deploy.LogTime), app.Printable(l.Text))
		}
		if err != nil {
			r.Close()
			return pos, err
		}
	}
	return r.Close(), nil
}

// removeLogs removes the logs of jobs that the ledger keeps no longer.
func (m *Manager) removeLogs(name string, gone []int) {
	for _, n := range gone {
		_ = output.Remove(m.LogFile(name, n))
	}
}

// Forget removes the logs of an app that is destroyed. The platform has ended its jobs.
func (m *Manager) Forget(name string) error { return disk.RemoveAll(filepath.Join(m.o.LogDir, name)) }

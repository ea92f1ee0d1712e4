package release

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// The logs that are kept of an app's pushes: those of kept releases, and of the last keptLogs pushes, successful or not. If they take more than
// maxLogs bytes together, the oldest are removed.
const (
	keptLogs = 20
	maxLogs  = 64 << 20
)

// pushLog is a file.
type pushLog struct {
	version int
	bytes   int64
}

// pruneLogs removes the logs of an app that are no longer kept, so that room more bytes fit into what an app may have. The last ones stay.
func (m *Machine) pruneLogs(ctx context.Context, name string, last int, room int64) error {
	logs, err := m.listLogs(name)
	if err != nil {
		return err
	}
	var needed []app.Release
	if len(logs) > last {
		if needed, err = m.o.Store.Ledger(name).Kept(ctx, kept); err != nil {
			return err
		}
	}
	for n, l := range logs {
		wanted := n < last || slices.ContainsFunc(needed, func(r app.Release) bool {
			return r.Version == l.version || r.Revision == app.RevisionName(name, l.version) // a rollback, and its target
		})
		if room += l.bytes; wanted && room <= maxLogs {
			continue
		}
		room -= l.bytes
		if err := os.Remove(m.BuildLog(name, l.version)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// listLogs returns the logs of an app's pushes, newest first.
func (m *Machine) listLogs(name string) ([]pushLog, error) {
	entries, err := os.ReadDir(filepath.Join(m.o.LogDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var logs []pushLog
	for _, e := range entries {
		number, ours := strings.CutPrefix(strings.TrimSuffix(e.Name(), ".log"), "v")
		version, err := strconv.Atoi(number)
		info, e := e.Info()
		if ours && err == nil && e == nil {
			logs = append(logs, pushLog{version, info.Size()})
		}
	}
	slices.SortFunc(logs, func(a, b pushLog) int { return b.version - a.version })
	return logs, nil
}

// sweepLogs prunes the logs of all apps and removes those of apps that no longer exist.
func (m *Machine) sweepLogs(ctx context.Context) {
	entries, err := os.ReadDir(m.o.LogDir)
	if err != nil {
		return // nothing was pushed yet
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return
		}
		_, err := m.o.Store.App(ctx, e.Name())
		switch {
		case err == nil:
			err = m.pruneLogs(ctx, e.Name(), keptLogs, 0)
		case app.CodeOf(err) == app.CodeNotFound:
			err = m.turns.whileIdle(e.Name(), func() error { return m.removeLogs(ctx, e.Name()) })
		}
		if err != nil {
			m.o.Log("logs of %s: %v", e.Name(), err)
		}
	}
}

// removeLogs removes the logs of an app that does not exist.
func (m *Machine) removeLogs(ctx context.Context, name string) error {
	if _, err := m.o.Store.App(ctx, name); app.CodeOf(err) != app.CodeNotFound {
		return err // created meanwhile
	}
	return disk.RemoveAll(filepath.Join(m.o.LogDir, name))
}

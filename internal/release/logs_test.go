package release

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// logsOf returns which of an app's logs exist.
func logsOf(t *testing.T, m *Machine, name string) map[int]bool {
	t.Helper()
	logs, err := m.listLogs(name)
	if err != nil {
		t.Fatal(err)
	}
	there := map[int]bool{}
	for _, l := range logs {
		there[l.version] = true
	}
	return there
}

func writeLogs(t *testing.T, m *Machine, name string, from, to int, bytes int64) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(m.o.LogDir, name), 0o700); err != nil {
		t.Fatal(err)
	}
	for v := from; v <= to; v++ {
		if err := os.WriteFile(m.BuildLog(name, v), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(m.BuildLog(name, v), bytes); err != nil {
			t.Fatal(err)
		}
	}
}

// The logs of the last pushes stay, and those of the releases that one can go back to, however many pushes failed since.
func TestMachine_KeepsLogs(t *testing.T) {
	m := newMachine(t, nil, nil)
	for v := 1; v <= 15; v++ {
		past(t, m, "a", app.StateLive, app.RevisionName("a", v))
	}
	past(t, m, "a", app.StateLive, "a-v3") // v16 went back to v3
	for range 30 {
		past(t, m, "a", app.StateFailed, "")
	}
	writeLogs(t, m, "a", 1, 46, 10)
	if err := m.pruneLogs(t.Context(), "a", keptLogs, maxLog); err != nil {
		t.Fatal(err)
	}
	there := logsOf(t, m, "a")
	for v, want := range map[int]bool{46: true, 27: true, 26: false, 17: false, 16: true, 15: true, 7: true, 6: false, 4: false, 3: true, 2: false, 1: false} {
		if there[v] != want {
			t.Errorf("v%d is there: %v", v, there[v])
		}
	}
}

// The logs of an app that fills them are bounded, and the newest stay.
func TestMachine_LogsAreBounded(t *testing.T) {
	m := newMachine(t, nil, nil)
	writeLogs(t, m, "a", 1, 12, maxLog)
	if err := m.pruneLogs(t.Context(), "a", keptLogs, maxLog); err != nil {
		t.Fatal(err)
	}
	if there := logsOf(t, m, "a"); fmt.Sprint(there) != "map[10:true 11:true 12:true]" { // and room for one more
		t.Error(there)
	}
}

// Logs of apps that are gone go as well.
func TestMachine_SweepsLogs(t *testing.T) {
	m := newMachine(t, nil, nil)
	past(t, m, "a", app.StateLive, "a-v1")
	writeLogs(t, m, "a", 1, 1, 10)
	writeLogs(t, m, "gone", 1, 3, 10)
	writeLogs(t, m, "starts", 1, 1, 10)
	if _, err := m.turns.enter("starts", &turn{}, func(*turn) error { return nil }); err != nil {
		t.Fatal(err)
	}
	m.sweepLogs(t.Context())
	if len(logsOf(t, m, "a")) != 1 || len(logsOf(t, m, "starts")) != 1 {
		t.Error("a log that is needed is gone")
	}
	if _, err := os.Lstat(filepath.Join(m.o.LogDir, "gone")); !os.IsNotExist(err) {
		t.Error("the logs of an app that is gone are there")
	}
}

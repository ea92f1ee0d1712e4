package kit

import (
	"bytes"
	"testing"
	"time"
)

// TestCmdLeavesBehind: a process that a tool has left behind, and that holds its output open, does not keep the build.
func TestCmdLeavesBehind(t *testing.T) {
	old := leftBehind
	leftBehind = 100 * time.Millisecond
	defer func() { leftBehind = old }()
	var out bytes.Buffer
	began := time.Now()
	said, err := Cmd{Args: []string{"/bin/sh", "-c", "sleep 60 & echo $!"}, Out: &out}.Run()
	if err != nil || said == "" || time.Since(began) > 30*time.Second {
		t.Errorf("%q %v after %v", said, err, time.Since(began))
	}
	if _, err := (Cmd{Args: []string{"/bin/sh", "-c", "kill " + First(said)}, Out: &out}).Run(); err != nil {
		t.Error(err)
	}
}

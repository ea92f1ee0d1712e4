package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// down ends the cluster and removes all of it but the cache.
func down(dir Dir) error {
	if _, err := os.Stat(string(dir)); os.IsNotExist(err) {
		return nil
	}
	unlock, err := dir.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := clean(dir); err != nil {
		return err
	}
	return os.RemoveAll(string(dir))
}

// stopDaemon ends the daemon; with it go the node and everything in it.
func stopDaemon(dir Dir) error {
	for begin := time.Now(); dir.running(); time.Sleep(20 * time.Millisecond) {
		var pid int
		id, err := os.ReadFile(dir.path("daemon.pid"))
		if err != nil {
			return err
		}
		if _, err := fmt.Sscan(string(id), &pid); err != nil {
			return err
		}
		signal := unix.SIGTERM
		if time.Since(begin) > 20*time.Second {
			signal = unix.SIGKILL
		}
		if err := unix.Kill(pid, signal); err != nil && err != unix.ESRCH {
			return err
		}
		if time.Since(begin) > time.Minute {
			return fmt.Errorf("process %d, the cluster's daemon, does not end", pid)
		}
	}
	return nil
}

// running reports whether the directory's daemon is alive.
func (d Dir) running() bool {
	recorded, err := os.ReadFile(d.path("daemon.pid"))
	if err != nil {
		return false
	}
	var pid int
	if _, err := fmt.Sscan(string(recorded), &pid); err != nil {
		return false
	}
	now, err := processID(pid)
	return err == nil && now == string(recorded)
}

// processID names a process for good: its number, which will be another's one day, and when it started. It fails for one that ended.
func processID(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The program's name, in parentheses, may hold anything; what follows it is state, parent, ...; the start time is the 22nd field.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return fmt.Sprintf("%d %s\n", pid, fields[19]), nil
}

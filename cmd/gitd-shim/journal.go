package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/sandbox/output"
	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// How long the end of a container waits for its output.
const (
	lastWords = time.Second     // for what is in the pipe
	lastWrite = 2 * time.Second // for the disk
)

// journal keeps what the container writes. The container has a pipe, and no file of the host.
type journal struct {
	pipe *os.File
	done chan struct{}
}

// openJournal returns the journal and the end of the pipe that is the container's.
func openJournal(c *shim.Config) (*journal, *os.File, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		return nil, nil, err
	}
	j := &journal{pipe: os.NewFile(uintptr(p[0]), "output"), done: make(chan struct{})}
	w := output.NewWriter(c.Log, output.Limits{Size: c.LogSize})
	go func() {
		defer close(j.done)
		_ = w.Copy(j.pipe, lastWrite)
	}()
	return j, os.NewFile(uintptr(p[1]), "output"), nil
}

// end waits until everything is written that the container wrote. Nothing runs in it any more.
func (j *journal) end() {
	if j == nil {
		return
	}
	select {
	case <-j.done:
	case <-time.After(lastWords):
		_ = j.pipe.Close()
		<-j.done
	}
}

package sandbox

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread runs f on an operating system thread that is thrown away afterwards, for what changes a thread permanently, such as
// leaving a namespace. It is never the process's first thread: that one stands for the process in /proc and cannot end.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f) // cannot land on this thread while we hold it
			runtime.UnlockOSThread()
			return
		}
		done <- f() // never unlocked: the thread ends with the goroutine
	}()
	return <-done
}

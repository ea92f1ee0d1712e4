package sandbox

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// secretFile returns a file in memory that has the variables of a container that are on no disk, at its beginning; nil for none. It goes when it is closed.
func secretFile(secrets map[string][]byte) (*os.File, error) {
	if len(secrets) == 0 {
		return nil, nil
	}
	fd, err := unix.MemfdCreate("gitd-secrets", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "secrets")
	size := 0
	for name, value := range secrets {
		size += len(name) + len(value) + 2
	}
	b := make([]byte, 0, size)
	defer func() { clear(b[:cap(b)]) }()
	for name, value := range secrets {
		b = append(append(append(append(b, name...), '='), value...), 0)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("hand over the container's secrets: %w", err)
	}
	return f, nil
}

package pack

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What is large (from half a megabyte on) and holds no pointers is kept outside of Go's heap: the heap grows to twice of what lives in it before its garbage
// is collected, and gives memory back late. A push of half a million objects takes a good deal less memory so.

// newOffHeap returns n zero values of a type without pointers. They are gone with freeOffHeap, and only then.
func newOffHeap[T any](n int) ([]T, error) {
	var zero T
	size := n * int(unsafe.Sizeof(zero))
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("%d bytes of memory: %w", size, err)
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n), nil
}

// freeOffHeap gives back what newOffHeap returned, all of it, to the last element of its capacity.
func freeOffHeap[T any](s []T) {
	var zero T
	s = s[:cap(s)]
	if len(s) > 0 {
		_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(zero))))
	}
}

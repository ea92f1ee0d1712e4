package disk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deep makes levels of directories below dir, each the only one in its parent, with a file in some.
func deep(t *testing.T, dir string, levels int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range levels {
		if err := unix.Mkdirat(fd, "d", 0o755); err != nil {
			t.Fatal(err)
		}
		sub, err := unix.Openat(fd, "d", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
		fd = sub
		if i%5000 == 0 {
			if f, err := unix.Openat(fd, "file", unix.O_CREAT|unix.O_CLOEXEC, 0o600); err == nil {
				_ = unix.Close(f)
			}
		}
	}
	_ = unix.Close(fd)
}

// The attack: a build nests so many folders that a removal with one descriptor for each level runs out of them: the server could neither
// clean up nor start. Removing and measuring must use a fixed number of descriptors.
func TestAttack_DeepFolders(t *testing.T) {
	limitDescriptors(t, 150)
	base := memory(t)
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
	for _, levels := range []int{1, 31, 32, 33, 63, 64, 65, 66, 200, 66_000} {
		dir := filepath.Join(base, "tree")
		must(t, os.Mkdir(dir, 0o755))
		deep(t, dir, levels)
		files := int64((levels + 4999) / 5000)
		if u := Measure(context.Background(), dir); u.Entries != int64(levels)+files || u.Bytes < 4096*u.Entries {
			t.Errorf("%d levels: %+v", levels, u)
		}
		if err := RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%d levels: %v", levels, err)
		}
	}
}

// The attack: nested folders again, now to use up the server's memory: where a removal keeps what it has read of each level until the last
// one is left, 60,000 levels take 800 MB.
func TestAttack_DeepFoldersInMemory(t *testing.T) {
	const levels = 30_000
	dir := filepath.Join(memory(t), "tree")
	must(t, os.Mkdir(dir, 0o755))
	deep(t, dir, levels)
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	done := make(chan uint64)
	stop := make(chan struct{})
	go func() {
		most := uint64(0)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-stop:
				done <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	Measure(context.Background(), dir)
	err := RemoveAll(dir)
	close(stop)
	if most := <-done; most > 100<<20 || err != nil {
		t.Errorf("%d MiB of memory, %v", most>>20, err)
	}
}

// memory is a folder on a file system in memory: none of these tests is about what a disk does.
func memory(t *testing.T) string {
	dir := t.TempDir()
	must(t, unix.Mount("none", dir, "tmpfs", 0, "size=512m"))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// limitDescriptors lets this process open n files from here on.
func limitDescriptors(t *testing.T, n uint64) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) })
}

func TestRemoveAll(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(memory(t), "tree")
	var long []string
	for i := range 100 { // comb: each level has siblings with something in them
		long = append(long, "d")
		for _, s := range []string{"a", "b", "c"} {
			must(t, os.MkdirAll(filepath.Join(dir, filepath.Join(long...), s, "x"), 0o755))
		}
		must(t, os.Symlink(outside, filepath.Join(dir, filepath.Join(long...), "link"+strconv.Itoa(i))))
	}
	for i := range 3000 {
		must(t, os.MkdirAll(filepath.Join(dir, "wide", strconv.Itoa(i), "sub"), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "odd\n\xff\x01name"), nil, 0))
	must(t, os.WriteFile(filepath.Join(dir, strings.Repeat("n", 255)), nil, 0))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0))
	must(t, os.MkdirAll(filepath.Join(dir, "closed", "in"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "closed"), 0))
	must(t, RemoveAll(dir))
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(outside, link))
	must(t, RemoveAll(link))
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Errorf("the link itself was followed: %v", err)
	}
	must(t, RemoveAll(filepath.Join(dir, "gone")))
	if RemoveAll("/") == nil || RemoveAll(".") == nil {
		t.Error("a path without a name of its own was taken")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Files with the marks of chattr +i and +a go too.
func TestRemoveAll_marked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	must(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "a", "b", "file"), nil, 0o600))
	for _, name := range []string{"a/b/file", "a/b", "a", "."} {
		f, err := os.Open(filepath.Join(dir, name))
		must(t, err)
		if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, marks); err != nil {
			t.Logf("%s: this file system has no marks: %v", name, err)
		}
		f.Close()
	}
	must(t, RemoveAll(dir))
}

// What is mounted somewhere in the folder stays, and so do the folders around it; the rest goes, and the error says why.
func TestRemoveAll_mount(t *testing.T) {
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "precious"), nil, 0o600))
	dir := filepath.Join(t.TempDir(), "tree")
	at := filepath.Join(dir, "a", "b", "mounted")
	must(t, os.MkdirAll(at, 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "a", "other", "x"), 0o755))
	must(t, unix.Mount(outside, at, "", unix.MS_BIND, ""))
	defer unix.Unmount(at, unix.MNT_DETACH)
	if err := RemoveAll(dir); err == nil || !strings.Contains(err.Error(), "mounted") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "a")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	must(t, unix.Unmount(at, 0))
	must(t, RemoveAll(dir))
}

// The attack: a process creates files and moves folders while they are removed, so that the removal never ends, or leaves the tree. It must
// end, and remove everything once the process has stopped.
func TestAttack_RemoveWhileWritten(t *testing.T) {
	top := memory(t)
	dir := filepath.Join(top, "tree")
	must(t, os.Mkdir(dir, 0o755))
	deep(t, dir, 150)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	half := filepath.Join(dir, strings.Repeat("d/", 50))
	for w := range 2 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := filepath.Join(dir, "new"+strconv.Itoa(w)+"-"+strconv.Itoa(i%50))
				_ = os.MkdirAll(filepath.Join(name, "x"), 0o755)
				_ = os.Rename(filepath.Join(half, "d"), filepath.Join(name, "moved"))
				_ = os.Rename(filepath.Join(name, "moved"), filepath.Join(half, "d"))
			}
		})
	}
	for range 3 {
		began := time.Now()
		_ = RemoveAll(dir)
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("it took %s", d)
		}
		_ = os.MkdirAll(filepath.Join(half, "d"), 0o755)
	}
	close(stop)
	writers.Wait()
	must(t, RemoveAll(dir))
	if left, _ := os.ReadDir(top); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

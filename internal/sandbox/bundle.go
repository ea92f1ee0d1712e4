package sandbox

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// make writes the container's directory, and returns the record's file, locked. The directory appears by one rename, complete.
func (h *Host) make(s *Spec, c *Container, resolv, users string, attached bool) (file *os.File, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(c.dir), newPrefix)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = disk.RemoveAll(dir)
			if file != nil {
				_ = file.Close()
			}
		}
	}()
	spec := *s
	spec.Hostname = cmp.Or(s.Hostname, s.ID)
	if err := writeEtc(dir, &spec, c.address, resolv); err != nil {
		return nil, err
	}
	o, err := specification(&spec, h.cgroups.path(s.ID, s.Background), fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), c.space.Fd()),
		filepath.Join(c.dir, shim.ProcessSpace), h.cgroups.swap())
	if err != nil {
		return nil, err
	}
	if err := writeJSON(filepath.Join(dir, shim.BundleFile), o); err != nil {
		return nil, err
	}
	if err := writeJSON(filepath.Join(dir, shim.ConfigFile), shim.Config{ID: s.ID, Runtime: h.runtime, RuntimeRoot: filepath.Join(filepath.Dir(filepath.Dir(c.dir)), runtimeDir),
		Layers: s.Layers, Users: users, UID: s.UID, GID: s.GID, Open: s.Owner != 0 && users == "", Written: s.Scratch, Join: h.cgroups.join(), OutOfMemory: h.cgroups.outOfMemory(s.ID, s.Background), Log: s.LogFile, LogSize: s.LogSize, Grace: s.Grace, Secrets: len(s.Secrets) > 0, Terminal: s.Terminal != nil, Prepared: s.prepared}); err != nil {
		return nil, err
	}
	if s.prepared {
		if err := makeMark(dir); err != nil {
			return nil, err
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, shim.AliveFile), 0o600); err != nil {
		return nil, err
	}
	file, err = writeRecord(dir, record{ID: s.ID, Labels: s.Labels, Started: c.Started, Attached: attached, Early: s.Early, Address: c.address})
	if err != nil {
		return file, err
	}
	if err := os.Rename(dir, c.dir); errors.Is(err, os.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return file, app.Errorf(app.CodeExists, "remove it first", "the container %s exists already", s.ID)
	} else if err != nil {
		return file, err
	}
	return file, nil
}

// writeEtc makes the directories of the container's root, and what it has in /etc of its own.
func writeEtc(dir string, s *Spec, address netip.Addr, resolv string) error {
	for _, d := range []string{shim.RootDir, shim.WrittenDir, shim.OwnDir, shim.OwnDir + "/etc"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(filepath.Join(dir, d), 0o755); err != nil { // independent of the umask: they become the container's / and /etc
			return err
		}
	}
	own := ""
	if address.IsValid() {
		own = address.String()
	}
	etc := accounts(s)
	etc["hosts"], etc["hostname"], etc["resolv.conf"] = hostsFile(s.Hostname, own), s.Hostname+"\n", resolv
	for name, content := range etc {
		name = filepath.Join(dir, shim.OwnDir, "etc", name)
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
		if err := os.Chmod(name, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeRecord writes the record, and returns its file, locked; the file also with an error, where it was opened.
func writeRecord(dir string, r record) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, recordFile), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return file, err
	}
	return file, json.NewEncoder(file).Encode(r)
}

func writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o600)
}

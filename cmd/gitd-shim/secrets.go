package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// bundle returns the folder with the specification that the runtime reads. Where the container has secrets, that is one in memory: gitd hands them over in
// SecretsFD, and what the runtime needs of them is on no disk, and out of sight outside of this mount namespace.
func (s *watcher) bundle(dir string) (string, error) {
	if !s.config.Secrets {
		return dir, nil
	}
	secrets, err := readSecrets()
	if err != nil {
		return "", fmt.Errorf("read the container's secrets: %w", err)
	}
	defer clear(secrets)
	before, after, err := around(dir, secrets)
	if err != nil {
		return "", err
	}
	quoted := quote(secrets)
	defer clear(quoted[:cap(quoted)])
	if err := os.Mkdir(shim.SecretDir, 0o700); err != nil {
		return "", err
	}
	// Not a tmpfs: its pages can be swapped to a disk. The mount ends with this process; an unmount takes the kernel milliseconds.
	if err := unix.Mount("ramfs", shim.SecretDir, "ramfs", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return "", fmt.Errorf("mount the file system for the container's secrets: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(shim.SecretDir, shim.BundleFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	for _, part := range [][]byte{before, quoted, after} {
		if _, err := f.Write(part); err != nil {
			return "", errors.Join(err, f.Close())
		}
	}
	return filepath.Join(dir, shim.SecretDir), f.Close()
}

// around returns what the specification has before and behind the secrets, which are the last of the environment. It is without those of its own variables that the secrets
// have as well, and knows no secret: this process lives as long as the app, and what it has in strings stays in its memory.
func around(dir string, secrets []byte) (before, after []byte, err error) {
	var spec, process, root map[string]json.RawMessage
	var env []string
	if err := shim.ReadFile(shim.BundleFile, &spec); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(json.Unmarshal(spec["process"], &process), json.Unmarshal(spec["root"], &root)); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(process["env"], &env); err != nil {
		return nil, nil, err
	}
	own := map[string]bool{}
	for one := range bytes.SplitSeq(secrets, []byte{0}) {
		name, _, _ := bytes.Cut(one, []byte("="))
		own[string(name)] = true
	}
	env = slices.DeleteFunc(env, func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return own[name]
	})
	place := rand.Text()
	parts := []struct {
		of    map[string]json.RawMessage
		name  string
		value any
	}{{process, "env", append(env, place)}, {root, "path", filepath.Join(dir, shim.RootDir)}, {spec, "process", process}, {spec, "root", root}}
	for _, p := range parts {
		if p.of[p.name], err = json.Marshal(p.value); err != nil {
			return nil, nil, err
		}
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, nil, err
	}
	before, after, found := bytes.Cut(text, []byte(`"`+place+`"`))
	if !found {
		return nil, nil, errors.New("the specification has no environment")
	}
	return before, after, nil
}

// quote returns variables, each with a NUL behind it, as strings of JSON with commas between, in memory that was not moved meanwhile.
func quote(variables []byte) []byte {
	b := make([]byte, 0, 6*len(variables)+3*bytes.Count(variables, []byte{0}))
	for one := range bytes.SplitSeq(bytes.TrimSuffix(variables, []byte{0}), []byte{0}) {
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		for _, c := range one {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c < ' ':
				b = append(b, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
			default:
				b = append(b, c)
			}
		}
		b = append(b, '"')
	}
	return b
}

// forgetSecrets removes what bundle wrote: the runtime has read it.
func (s *watcher) forgetSecrets() {
	if s.config.Secrets {
		_ = os.Remove(filepath.Join(shim.SecretDir, shim.BundleFile))
	}
}

// readSecrets reads SecretsFD, and closes it.
func readSecrets() ([]byte, error) {
	f := os.NewFile(shim.SecretsFD, "secrets")
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, info.Size())
	_, err = io.ReadFull(io.NewSectionReader(f, 0, info.Size()), b)
	return b, err
}

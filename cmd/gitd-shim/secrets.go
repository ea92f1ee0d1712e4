package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

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
	var spec, process map[string]json.RawMessage
	var env []string
	if err := shim.ReadFile(shim.BundleFile, &spec); err != nil {
		return "", err
	}
	if err := json.Unmarshal(spec["process"], &process); err != nil {
		return "", err
	}
	if err := json.Unmarshal(process["env"], &env); err != nil {
		return "", err
	}
	if process["env"], err = json.Marshal(withSecrets(env, secrets)); err != nil {
		return "", err
	}
	defer clear(process["env"])
	if spec["process"], err = json.Marshal(process); err != nil {
		return "", err
	}
	defer clear(spec["process"])
	var root map[string]any
	if err := json.Unmarshal(spec["root"], &root); err != nil {
		return "", err
	}
	root["path"] = filepath.Join(dir, shim.RootDir)
	if spec["root"], err = json.Marshal(root); err != nil {
		return "", err
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	defer clear(text)
	if err := os.Mkdir(shim.SecretDir, 0o700); err != nil {
		return "", err
	}
	// Not a tmpfs: its pages can be swapped to a disk. The mount ends with this process; an unmount takes the kernel milliseconds.
	if err := unix.Mount("ramfs", shim.SecretDir, "ramfs", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return "", fmt.Errorf("mount the file system for the container's secrets: %w", err)
	}
	return filepath.Join(dir, shim.SecretDir), os.WriteFile(filepath.Join(shim.SecretDir, shim.BundleFile), text, 0o600)
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

// withSecrets adds secrets, as SecretsFD has them, to an environment, in place of variables of the same name.
func withSecrets(env []string, secrets []byte) []string {
	own := map[string]bool{}
	var all []string
	for one := range bytes.SplitSeq(secrets, []byte{0}) {
		if name, _, ok := bytes.Cut(one, []byte("=")); ok {
			own[string(name)] = true
			all = append(all, string(one))
		}
	}
	kept := make([]string, 0, len(env)+len(all))
	for _, e := range env {
		name, _, _ := bytes.Cut([]byte(e), []byte("="))
		if !own[string(name)] {
			kept = append(kept, e)
		}
	}
	return append(kept, all...)
}

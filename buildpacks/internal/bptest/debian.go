package bptest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Debian makes the machine that the test runs on, a Debian system, the image that package debs installs for: with this machine's sources and release, so
// that what is installed runs here. has are packages that the image has, of any version; the C library and the like are among them.
func Debian(t testing.TB, has ...string) {
	t.Helper()
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages").Output()
	if err != nil {
		t.Fatalf("ask apt for this machine's sources: %v", err)
	}
	dir := t.TempDir()
	var sources, status strings.Builder
	signed := ""
	if keyring := "/usr/share/keyrings/debian-archive-keyring.gpg"; kit.IsFile(keyring) {
		signed = "[signed-by=" + keyring + "] "
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 3 && strings.Contains(f[0], "debian") && f[2] == "main" {
			fmt.Fprintf(&sources, "deb %s%s %s %s\n", signed, f[0], f[1], f[2])
		}
	}
	for _, p := range append([]string{"libc6", "libc-bin", "libgcc-s1", "libstdc++6", "zlib1g", "debconf", "perl-base", "dpkg"}, has...) {
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nVersion: 99:1\nArchitecture: amd64\nMulti-Arch: same\nMaintainer: a test\nDescription: a test\n\n", p)
	}
	old := debs.System
	debs.System = debs.Paths{Sources: filepath.Join(dir, "sources.list"), Status: filepath.Join(dir, "status")}
	t.Cleanup(func() { debs.System = old })
	for file, content := range map[string]string{debs.System.Sources: sources.String(), debs.System.Status: status.String()} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

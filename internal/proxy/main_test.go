package proxy

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/gitd-io/gitd/internal/parts"
	"github.com/gitd-io/gitd/internal/parts/partstest"
	"github.com/gitd-io/gitd/internal/proxy/process"
	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// versionsFile is beside a copy of the test's own program that serves as gitd-proxy, and has the versions that it speaks: one of another build.
const versionsFile = "versions"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == parts.Proxy {
		serveVersions()
		return
	}
	_, cleanup := partstest.BuildShim(parts.Proxy)
	code := m.Run()
	cleanup()
	os.Exit(code)
}

// serveVersions is gitd-proxy (cmd/gitd-proxy) with other versions.
func serveVersions() {
	var v wire.Versions
	b, err := os.ReadFile(filepath.Join(filepath.Dir(os.Args[0]), versionsFile))
	if err == nil {
		_, err = fmt.Sscan(string(b), &v.Newest, &v.Oldest)
	}
	f := os.NewFile(3, "link")
	c, e := net.FileConn(f)
	_ = f.Close()
	if err = errors.Join(err, e); err != nil {
		log.Fatal(err)
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
	process.New(process.Options{Log: log.Printf, Edition: os.Args[2], Versions: v}).Run(c.(*net.UnixConn), os.Args[1])
}

// servingVersions gives a test a program of the proxy that speaks these versions, in place of the one that there is.
func servingVersions(t *testing.T, v wire.Versions) {
	t.Helper()
	program, err := os.Executable()
	if err == nil {
		dir := os.Getenv("GITD_PARTS")
		at := filepath.Join(dir, parts.Proxy)
		_ = os.Remove(at) // the one that runs keeps its own
		err = errors.Join(os.WriteFile(filepath.Join(dir, versionsFile), fmt.Appendln(nil, v.Newest, v.Oldest), 0o600), os.Link(program, at))
		if errors.Is(err, syscall.EXDEV) {
			var b []byte
			if b, err = os.ReadFile(program); err == nil {
				err = os.WriteFile(at, b, 0o755)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// serving gives a test a program of the proxy of its own, which it may take for another build.
func serving(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(os.Getenv("GITD_PARTS"), parts.Proxy))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, parts.Proxy), b, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITD_PARTS", dir)
}

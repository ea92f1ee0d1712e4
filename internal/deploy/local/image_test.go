package local

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestUser(t *testing.T) {
	dir := t.TempDir()
	write := func(layer, name, text string) {
		f := filepath.Join(dir, layer, name)
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("low", "etc/passwd", "root:x:0:0::/root:\napp:x:7:7::/low:\n")
	write("high", "etc/passwd", "root:x:0:0::/root:\nbad\napp:x:1000:1001::/app:/bin/sh\nevil:x:0:0::/:\n99:x:5:5::/n:\n")
	write("high", "etc/group", "staff:x:50:\n")
	if err := os.MkdirAll(filepath.Join(dir, "link", "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link", "etc", "passwd")); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{
		"app": "1000 1001 /app", "1000": "1000 1001 /app", "1000:1000": "1000 1000 /app", "app:staff": "1000 50 /app", "2000": "2000 0 /", "2000:30": "2000 30 /",
		"": "it runs as root; set a user in the image", "0": "it runs as root; set a user in the image", "root": "it runs as root; set a user in the image",
		"evil": "it runs as root; set a user in the image", "nobody": `it has no user "nobody"`, "app:wheel": `it has no group "wheel"`, "-1": `it has no user "-1"`,
		"4294967296": `it has no user "4294967296"`,
	} {
		i := &image{layers: []string{filepath.Join(dir, "low"), filepath.Join(dir, "high")}}
		got := ""
		if err := i.user(user); err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprint(i.uid, " ", i.gid, " ", i.home)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", user, got, want)
		}
	}
	i := &image{layers: []string{filepath.Join(dir, "link")}}
	if err := i.user("daemon"); err == nil {
		t.Error("a link led to the host's own /etc/passwd")
	}
}

package pack

import (
	"crypto/sha1"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// collision returns one of the files of the public attacks on SHA-1, which the library that notices them tests itself with.
func collision(t *testing.T, name string) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/pjbgf/sha1cd").Output()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "test/testdata/files", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCollisions: a pack with an object that is half of a collision is refused. The public ones (SHAttered, 2017; SHA-1 is a
// Shambles, 2020) begin as they do, and an object begins with its kind and size: as git objects they do not collide. So they are
// named without that head here, and go all the ways that an object may come: in a batch, on its own, and as what a delta makes.
func TestCollisions(t *testing.T) {
	for _, pair := range [][2]string{{"shattered-1.pdf", "shattered-2.pdf"}, {"sha-mbles-1.bin", "sha-mbles-2.bin"}} {
		a, b := collision(t, pair[0]), collision(t, pair[1])
		if string(a) == string(b) || sha1.Sum(a) != sha1.Sum(b) {
			t.Fatalf("%v do not collide", pair)
		}
		for name, half := range map[string][]byte{pair[0]: a, pair[1]: b} {
			whole := gittest.NewPack(1)
			whole.Object(kindBlob, half)
			made := gittest.NewPack(2)
			at, n := made.Object(kindBlob, half[1:]), len(half)-1
			made.OffsetDelta(at, append(delta(n, n+1, 1, half[0]), copies(n)...))
			for way, pack := range map[string][]byte{"whole": whole.End(), "delta": made.End()} {
				_, _, err := take(t, pack, Options{headless: true})
				if err == nil || codeOf(t, err) != app.CodeInvalidInput || !strings.Contains(err.Error(), " is part of an attack on SHA-1") {
					t.Errorf("%s, %s: %v", name, way, err)
				}
			}
			s := newSink(io.Discard)
			_ = s.write(half)
			if _, err := s.end(); err == nil || !strings.Contains(err.Error(), "it is part of an attack on SHA-1") {
				t.Errorf("a pack that begins as %s: %v", name, err)
			}
		}
		// As the contents of files they are harmless, and may be pushed.
		both := gittest.NewPack(2)
		both.Object(kindBlob, a)
		both.Object(kindBlob, b)
		res, dir, err := take(t, both.End(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		sameIndex(t, dir, res)
	}
}

// copies are instructions that copy the first n bytes of the base.
func copies(n int) (d []byte) {
	for at := 0; at < n; {
		k := min(n-at, 1<<16-1)
		d = append(d, 0x80|0x0f|0x30, byte(at), byte(at>>8), byte(at>>16), byte(at>>24), byte(k), byte(k>>8))
		at += k
	}
	return d
}

package sandbox

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// The attack: an archive of a few kilobytes holds a sparse file that has 300 MB when it is unpacked. The limit on a layer counts the unpacked
// size. The older form of sparse entries counts too; it used to be left out.
func TestAttack_SparseLayer(t *testing.T) {
	const size = 300 << 20
	pax := sparse(size)
	l := OpenLayers(t.TempDir())
	l.MaxBytes = 1 << 20
	if _, err := l.Ensure(t.Context(), image(t, pax)); app.CodeOf(err) != app.CodeLimitExceeded {
		t.Errorf("PAX: %v", err)
	}
	old := oldSparse("file", []byte("content"), 8192)
	dirs, err := OpenLayers(t.TempDir()).Ensure(t.Context(), image(t, old))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dirs[0], "file"))
	if err != nil || len(b) != 8192 || !strings.HasPrefix(string(b), "content\x00") {
		t.Errorf("old form: %d bytes, %v", len(b), err)
	}
	odd := archive(t, tar.Header{Name: "odd", Linkname: "content"})
	odd[156] = 'M' // a part of a file that another archive began
	fix(odd)
	if _, err := OpenLayers(t.TempDir()).Ensure(t.Context(), image(t, odd)); err == nil {
		t.Error("a kind of entry that is not known vanishes in silence")
	}
}

// sparse is an archive with one file of that size, all of it a hole, in the form that the PAX format 1.0 has.
func sparse(size int) []byte {
	var b bytes.Buffer
	record := func(k, v string) string {
		for n := len(k) + len(v) + 3; ; n++ {
			s := strconv.Itoa(n) + " " + k + "=" + v + "\n"
			if len(s) == n {
				return s
			}
		}
	}
	ext := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", "file") + record("GNU.sparse.realsize", strconv.Itoa(size))
	block(&b, "PaxHeaders/file", 'x', []byte(ext))
	body := make([]byte, 512)
	copy(body, "1\n"+strconv.Itoa(size)+"\n0\n")
	block(&b, "GNUSparseFile.0/file", '0', body)
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

// block writes an entry as it is in a tar.
func block(b *bytes.Buffer, name string, kind byte, content []byte) {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], octal(len(content)))
	copy(h[136:], octal(0))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	fix(h)
	b.Write(h)
	b.Write(content)
	b.Write(make([]byte, (512-len(content)%512)%512))
}

func octal(n int) string {
	s := ""
	for range 11 {
		s = string(rune('0'+n%8)) + s
		n /= 8
	}
	return s + "\x00"
}

// fix writes the header's checksum.
func fix(h []byte) {
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h[:512] {
		sum += int(c)
	}
	copy(h[148:], octal(sum)[5:11]+"\x00 ")
}

// oldSparse is an archive with one file in the form of old GNU tar: content, and a hole up to size.
func oldSparse(name string, content []byte, size int) []byte {
	var b bytes.Buffer
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], octal(len(content)))
	copy(h[136:], octal(0))
	h[156] = 'S'
	copy(h[257:], "ustar  \x00")
	copy(h[386:], octal(0)+octal(len(content))+octal(size)+octal(0))
	copy(h[483:], octal(size))
	fix(h)
	b.Write(h)
	b.Write(content)
	b.Write(make([]byte, 512-len(content)))
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

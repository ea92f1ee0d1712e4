// Package lfs keeps the large files of an app that its pushes name by Git LFS pointers, and takes and gives them over SSH by Git LFS's
// own transfer protocol (git-lfs/docs/proposals/ssh_adapter.md). It needs no HTTP.
package lfs

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"
)

// MaxPointer is the size in bytes that no pointer file exceeds (git-lfs/docs/spec.md).
const MaxPointer = 1024

// Pointer is what a repository holds in place of a large file.
type Pointer struct {
	OID  string // 64 hex digits: the SHA-256 of the content
	Size int64  // of the content, in bytes
	// Extended is set where the content is not the file itself but what an LFS extension makes of it.
	Extended bool
}

// versions are the first lines that pointers have had.
var versions = []string{"version https://git-lfs.github.com/spec/v1", "version https://hawser.github.com/spec/v1", "version http://git-media.io/v/2"}

var oidForm = pattern.New(`^[0-9a-f]{64}$`)

// ValidOID says whether s is the name of an object: 64 lower-case hex digits.
func ValidOID(s string) bool { return oidForm.MatchString(s) }

// ParsePointer reads a pointer file. ok is false for any other file.
func ParsePointer(b []byte) (p Pointer, ok bool) {
	if len(b) > MaxPointer || !bytes.HasPrefix(b, []byte("version ")) {
		return Pointer{}, false
	}
	lines := strings.Split(strings.TrimRight(string(b), " \r\n"), "\n")
	known := false
	for _, v := range versions {
		known = known || strings.TrimRight(lines[0], "\r") == v
	}
	if !known {
		return Pointer{}, false
	}
	p.Size = -1
	for _, l := range lines[1:] {
		key, value, found := strings.Cut(strings.TrimRight(l, "\r"), " ")
		switch {
		case !found:
			return Pointer{}, false
		case key == "oid" && p.OID == "":
			p.OID, found = strings.CutPrefix(value, "sha256:")
			if !found || !ValidOID(p.OID) {
				return Pointer{}, false
			}
		case key == "size" && p.Size < 0:
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
				return Pointer{}, false
			}
			p.Size = n
		case strings.HasPrefix(key, "ext-"):
			p.Extended = true
		default:
			return Pointer{}, false
		}
	}
	return p, p.OID != "" && p.Size >= 0
}

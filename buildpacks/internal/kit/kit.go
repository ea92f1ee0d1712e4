// Package kit is what the buildpacks share: errors for people, running tools, layers that are reused by a key, the cache that
// outlives a build, the software bill of materials.
package kit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"github.com/buildpacks/libcnb"
)

// Error is a failure that a person can act on. It reaches the push as a line "gitd-error: …".
type Error struct {
	Message string // one line: what failed and why
	Lack    string // the part of the system that is missing, where that is why; may be empty
	Next    string // what to do next; may be empty
}

// Errorf makes an Error. next says what to do, and may be empty.
func Errorf(next, format string, args ...any) *Error {
	return &Error{Message: fmt.Sprintf(format, args...), Next: next}
}

// Error returns the line for people.
func (e *Error) Error() string {
	text := e.Message
	if e.Lack != "" {
		text += ": " + e.Lack + " is missing"
	}
	if e.Next != "" {
		text += "; " + e.Next
	}
	return text
}

// Line returns the one line that tells err.
func Line(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Error()
	}
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), ": ")
}

// Detected prints the line by which the engine learns what was found, and returns a passed detection.
func Detected(out io.Writer, format string, args ...any) libcnb.DetectResult {
	fmt.Fprintf(out, "gitd-detect: %s\n", fmt.Sprintf(format, args...))
	return libcnb.DetectResult{Pass: true}
}

// LookedFor prints what the buildpack would have taken, and returns a failed detection.
func LookedFor(out io.Writer, what string) libcnb.DetectResult {
	fmt.Fprintf(out, "gitd-looked-for: %s\n", what)
	return libcnb.DetectResult{}
}

// Say prints one line about what is being done.
func Say(out io.Writer, format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }

// Exists tells whether there is something at the path.
func Exists(elem ...string) bool {
	_, err := os.Lstat(filepath.Join(elem...))
	return err == nil
}

// IsFile tells whether there is a regular file at the path, links followed.
func IsFile(elem ...string) bool {
	fi, err := os.Stat(filepath.Join(elem...))
	return err == nil && fi.Mode().IsRegular()
}

// IsDir tells whether there is a folder at the path, links followed.
func IsDir(elem ...string) bool {
	fi, err := os.Stat(filepath.Join(elem...))
	return err == nil && fi.IsDir()
}

// maxFile bounds the files that are read as a whole: manifests and lock files.
const maxFile = 64 << 20

// ReadFile reads a manifest or lock file of the app. It returns an *Error for one that is too large to be one.
func ReadFile(elem ...string) ([]byte, error) {
	path := filepath.Join(elem...)
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, Errorf("", "%s is not a regular file", filepath.Base(path))
	}
	if fi.Size() > maxFile {
		return nil, Errorf("", "%s is %d bytes long, at most %d are read", filepath.Base(path), fi.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// Text reads a file of the app and trims it, without a byte order mark; "" where it cannot be read. UTF-16 with a mark, which PowerShell writes, is
// read as well.
func Text(elem ...string) string {
	data, err := ReadFile(elem...)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(Decode(data))
}

// Decode returns the text of a file: without a byte order mark, and from UTF-16 where it has the mark of that.
func Decode(data []byte) string {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		order = binary.BigEndian
	default:
		return strings.TrimPrefix(string(data), "\ufeff")
	}
	units := make([]uint16, 0, len(data)/2)
	for i := 2; i+1 < len(data); i += 2 {
		units = append(units, order.Uint16(data[i:]))
	}
	return string(utf16.Decode(units))
}

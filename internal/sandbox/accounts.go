package sandbox

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxAccounts is the size in bytes up to which an image's tables of users and groups are read.
const maxAccounts = 1 << 20

// OpenInLayers opens a regular file of an image, as seen with its layers, bottom first, one on the other. Layers are a stranger's: links
// do not lead out of them.
func OpenInLayers(layers []string, name string) (*os.File, error) {
	for n := len(layers) - 1; n >= 0; n-- {
		if f, err := openInLayer(layers[n], name); err == nil {
			return f, nil
		}
	}
	return nil, os.ErrNotExist
}

func openInLayer(dir, name string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if st, err := root.Stat(name); err != nil || !st.Mode().IsRegular() { // no waiting on a pipe
		return nil, errors.New("not a file")
	}
	return root.Open(name)
}

// accounts are the container's tables of users and groups where another ID stands for that of the image's user: names, homes and shells
// stay. A table that the image does not have, or of a size that no honest one has, is left out.
func accounts(s *Spec) map[string]string {
	files := map[string]string{}
	if s.Owner == 0 {
		return files
	}
	u := s.user()
	for _, t := range []struct {
		name   string
		fields map[int][2]uint32 // old and new ID, by field
	}{
		{"passwd", map[int][2]uint32{2: {s.UID, u.UID}, 3: {s.GID, u.GID}}},
		{"group", map[int][2]uint32{2: {s.GID, u.GID}}},
	} {
		f, err := OpenInLayers(s.Layers, filepath.Join("etc", t.name))
		if err != nil {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(f, maxAccounts+1))
		_ = f.Close()
		if err == nil && len(b) <= maxAccounts {
			files[t.name] = renumber(string(b), t.fields)
		}
	}
	return files
}

// renumber replaces IDs in lines of fields that colons divide.
func renumber(table string, ids map[int][2]uint32) string {
	var b strings.Builder
	for line := range strings.Lines(table) {
		fields := strings.Split(line, ":")
		for i, id := range ids {
			// The last field, which holds the line's end, is never an ID.
			if i < len(fields)-1 && fields[i] == strconv.FormatUint(uint64(id[0]), 10) {
				fields[i] = strconv.FormatUint(uint64(id[1]), 10)
			}
		}
		b.WriteString(strings.Join(fields, ":"))
	}
	return b.String()
}

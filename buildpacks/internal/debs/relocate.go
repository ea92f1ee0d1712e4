package debs

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// maxText bounds the files that are looked into for places: pkg-config's, linker scripts, scripts.
const maxText = 1 << 20

// relocate turns what names a place in the file system to the folder, and sets the times of all files.
func (t *tree) relocate() error {
	if err := t.makeAlternatives(); err != nil {
		return err
	}
	for _, l := range t.links {
		if err := t.turnLink(l); err != nil {
			return err
		}
	}
	var all []string
	err := filepath.WalkDir(t.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		all = append(all, p)
		if d.Type().IsRegular() {
			return t.turnFile(p, d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	times := []unix.Timespec{unix.NsecToTimespec(made.UnixNano()), unix.NsecToTimespec(made.UnixNano())}
	for i := len(all) - 1; i >= 0; i-- { // folders after what is in them
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, all[i], times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	return nil
}

// turnLink makes an absolute link to something in the folder a relative one. One to something else is the image's.
func (t *tree) turnLink(l link) error {
	if !kit.Exists(t.root, l.target) {
		return nil
	}
	to, err := filepath.Rel(path.Dir(l.name), l.target)
	if err != nil {
		return err
	}
	p := filepath.Join(t.root, l.name)
	if err := os.Remove(p); err != nil {
		return err
	}
	return os.Symlink(to, p)
}

// turnFile rewrites a text that names places.
func (t *tree) turnFile(p string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil || info.Size() > maxText || info.Size() == 0 {
		return err
	}
	ext := filepath.Ext(p)
	pc, library, script := ext == ".pc", ext == ".so" || ext == ".la", info.Mode()&0o111 != 0
	fonts := ext == ".conf" && strings.HasPrefix(p, filepath.Join(t.root, "etc/fonts"))
	if !pc && !library && !script && !fonts {
		return nil
	}
	data, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	turned := data
	switch {
	case pc:
		rel, err := filepath.Rel(filepath.Dir(p), filepath.Join(t.root, "usr"))
		if err != nil {
			return err
		}
		turned = pkgConfig(data, "${pcfiledir}/"+rel)
	case bytes.HasPrefix(data, []byte("\x7fELF")):
	case library, fonts, bytes.HasPrefix(data, []byte("#!")):
		turned = t.places(data)
	}
	if bytes.Equal(turned, data) {
		return nil
	}
	return os.WriteFile(p, turned, info.Mode().Perm())
}

var usrPlace = regexp.MustCompile(`(^|[=:\s"'IL])/usr(/|\s|$)`)

// pkgConfig turns the places in a file of pkg-config's: usr is what /usr is seen from it.
func pkgConfig(data []byte, usr string) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(data) {
		b.Write(usrPlace.ReplaceAll(line, []byte("${1}"+strings.ReplaceAll(usr, "$", "$$")+"${2}")))
	}
	return b.Bytes()
}

var place = regexp.MustCompile(`/(?:usr|lib|bin|sbin|etc)/[A-Za-z0-9_+./-]*[A-Za-z0-9_+]`)

// places turns the paths in a script that the folder has and the image lacks.
func (t *tree) places(data []byte) []byte {
	at := place.FindAllIndex(data, -1)
	if at == nil {
		return data
	}
	var b bytes.Buffer
	last := 0
	for _, m := range at {
		found := string(data[m[0]:m[1]])
		if m[0] > 0 && isPathByte(data[m[0]-1]) || kit.Exists(found) || !kit.Exists(t.root, merged(found)) {
			continue
		}
		b.Write(data[last:m[0]])
		b.WriteString(t.root + "/" + merged(found))
		last = m[1]
	}
	b.Write(data[last:])
	return b.Bytes()
}

func isPathByte(c byte) bool {
	return c == '/' || c == '.' || c == '}' || c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

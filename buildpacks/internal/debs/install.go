package debs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// treeVersion is raised when the same packages make another folder, or another environment, than before.
const treeVersion = "3"

// maxTree bounds what is unpacked.
const maxTree = 4 << 30

// made is the time of all files: the same packages make the same folder.
var made = time.Date(1980, 1, 1, 0, 0, 1, 0, time.UTC)

// Install fills root, an empty folder, with the set. Where the mirror has newer versions of its packages, and no longer those, the set changes: read
// Key after it.
func (t *Tool) Install(s *Set, root string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if len(s.Packages) == 0 {
		return nil
	}
	tree, err := t.unpackShared(s, root)
	if tree == nil && err == nil {
		tree, err = t.unpackFetched(s, root)
	}
	if err != nil {
		return err
	}
	if err := tree.relocate(); err != nil {
		return err
	}
	kit.Say(t.out, "Installed %s", plural(len(s.Packages), "Debian package"))
	return nil
}

// unpackShared fills root with the set as far as the server has prepared it: nil where it has not, or where what it has went away meanwhile.
func (t *Tool) unpackShared(s *Set, root string) (*tree, error) {
	files, all := t.shared.packages(s.unpacked())
	if !all {
		return nil, nil
	}
	if tree, err := t.unpack(s, root, files); err == nil {
		return tree, nil
	}
	return nil, errors.Join(os.RemoveAll(root), os.MkdirAll(root, 0o755))
}

// unpackFetched fills root with the set from the mirror.
func (t *Tool) unpackFetched(s *Set, root string) (*tree, error) {
	files, err := t.fetch(s)
	if err != nil {
		return nil, err
	}
	tree, err := t.unpack(s, root, files)
	return tree, errors.Join(err, trim(filepath.Join(t.dir, archives), maxArchives))
}

// unpack fills root with the packages in files, those of the set.
func (t *Tool) unpack(s *Set, root string, files []string) (*tree, error) {
	tree := &tree{root: root, temporary: t.dir, env: t.env, runOnly: s.request.RunOnly}
	return tree, tree.unpack(files)
}

// fetch downloads the packages of the set, and returns their files.
func (t *Tool) fetch(s *Set) ([]string, error) {
	sources, err := t.sources(s.request.Suite)
	if err != nil {
		return nil, err
	}
	a, err := t.prepare(s.request, sources)
	if err != nil {
		return nil, err
	}
	if err := a.update(false); err != nil {
		return nil, err
	}
	files, err := a.fetch(s.unpacked())
	if errors.As(err, &gone{}) {
		if err = a.update(true); err != nil {
			return nil, err
		}
		if s.Packages, err = a.simulate(); err != nil {
			return nil, err
		}
		files, err = a.fetch(s.unpacked())
	}
	if err != nil {
		return nil, err
	}
	_ = os.Remove(a.path("index")) // large, and made again in a second
	return files, nil
}

// tree is the folder that packages are unpacked into.
type tree struct {
	root         string
	temporary    string // folder for what is decompressed
	env          kit.Env
	runOnly      bool
	size         int64
	links        []link // absolute ones, to be turned when all is there
	alternatives []alternative
}

type link struct{ name, target string }

// unpack adds packages in their order: what two have is the later one's. Archives have been checked; still nothing of them is written outside the
// folder. Most of the time goes into decompressing, which is done ahead, on all processors.
func (t *tree) unpack(files []string) error {
	root, err := os.OpenRoot(t.root)
	if err != nil {
		return err
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i, opened := range t.openAll(ctx, files) {
		a := <-opened
		if a.err == nil {
			t.alternatives = append(t.alternatives, readAlternatives(a.script)...)
			a.err = t.entries(root, tar.NewReader(a.tree))
			a.tree.Close()
		}
		if a.err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(files[i]), a.err)
		}
	}
	return nil
}

func (t *tree) entries(root *os.Root, r *tar.Reader) error {
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := merged(h.Name)
		if name == "." || leftOut(name) || t.runOnly && forCompilers(name) {
			continue
		}
		if err := t.entry(root, h, name, r); err != nil {
			return err
		}
	}
}

func (t *tree) entry(root *os.Root, h *tar.Header, name string, content io.Reader) error {
	if h.Typeflag == tar.TypeDir {
		if info, err := root.Stat(name); err == nil && info.IsDir() {
			return nil
		}
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !os.IsNotExist(err) {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if t.size += h.Size; t.size > maxTree {
			return kit.Errorf("ask for fewer", "the Debian packages have more than %d GiB", maxTree>>30)
		}
		mode := os.FileMode(0o644)
		if h.Mode&0o111 != 0 {
			mode = 0o755
		}
		f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return errors.Join(err, f.Chmod(mode), f.Close())
	case tar.TypeLink:
		return root.Link(merged(h.Linkname), name)
	case tar.TypeSymlink:
		target := h.Linkname
		if path.IsAbs(target) {
			t.links = append(t.links, link{name, merged(target)})
		}
		return root.Symlink(target, name)
	}
	return nil // devices: none that an app could use
}

// merged cleans the name of a file, and moves what an older package has in /lib and the like to where it is since /usr is merged.
func merged(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	top, _, _ := strings.Cut(name, "/")
	switch top {
	case "":
		return "."
	case "bin", "sbin", "lib", "lib64", "lib32", "libx32":
		return "usr/" + name
	}
	return name
}

// leftOut tells what no build and no app reads: as in the image, documentation but for the licences.
func leftOut(name string) bool {
	for _, dir := range []string{"usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/lintian/", "usr/share/bug/", "usr/share/doc-base/"} {
		if strings.HasPrefix(name+"/", dir) {
			return true
		}
	}
	if rest, ok := strings.CutPrefix(name, "usr/share/doc/"); ok {
		_, file, _ := strings.Cut(rest, "/")
		return file != "copyright"
	}
	return name == "usr/share/doc"
}

// forCompilers tells what no app reads when it runs.
func forCompilers(name string) bool {
	return strings.HasPrefix(name+"/", "usr/include/") || strings.HasSuffix(name, ".a") || strings.HasPrefix(name, "usr/share/aclocal/") ||
		strings.Contains(name, "/pkgconfig/") || strings.HasPrefix(name, "usr/lib/") && strings.Contains(name, "/cmake/")
}

// unpacked are the packages of the set that come into the folder.
func (s *Set) unpacked() []Package {
	return slices.DeleteFunc(slices.Clone(s.Packages), func(p Package) bool { return s.request.RunOnly && strings.HasSuffix(p.Name, "-dev") })
}

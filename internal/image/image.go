// Package image makes the image that gitd itself runs from in a cluster: Debian with git, the gitd binary and the programs beside it.
package image

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/layer"
	"github.com/gitd-io/gitd/internal/parts"
)

// User is the user and group that gitd runs as. Debian assigns it to no one.
const User = 65532

// Home is where the image has gitd, and Data its data directory.
const (
	Home = "usr/local/lib/gitd"
	Data = "var/lib/gitd"
)

// Packages are what gitd calls, or needs to trust others.
var Packages = []string{"ca-certificates", "git"}

// Options say what goes in.
type Options struct {
	Binary  string // gitd; default: this program
	Parts   string // folder of the programs beside it; default: where this program has them
	Base    string // image to stand on: oci:DIR or a registry reference with git; "" bootstraps Debian
	Cache   string // default: gitd in the user's cache directory
	Force   bool   // bootstrap again
	Version string
	Log     *app.Log
}

// Make makes the image. The same content has the same digest. The errors are *app.Error.
func Make(ctx context.Context, o Options) (v1.Image, error) {
	if o.Binary == "" {
		var err error
		if o.Binary, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	if err := static(o.Binary); err != nil {
		return nil, err
	}
	if o.Parts == "" {
		var err error
		if o.Parts, err = parts.Dir(); err != nil {
			return nil, err
		}
	}
	programs, err := programsIn(o.Parts)
	if err != nil {
		return nil, err
	}
	base, err := builder.Base(ctx, builder.Options{Base: o.Base, Cache: o.Cache, Force: o.Force, Log: o.Log}, Packages...)
	if err != nil {
		return nil, err
	}
	users, err := withUser(base)
	if err != nil {
		return nil, err
	}
	o.Log.Detail("Adding gitd and %d programs beside it", len(programs))
	return assemble(base, o, programs, users)
}

func assemble(base v1.Image, o Options, programs []string, users map[string][]byte) (v1.Image, error) {
	files, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(writeLayer(w, o, programs, users)) }()
		return r, nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	img, err := mutate.Append(base, mutate.Addendum{Layer: files, MediaType: types.OCILayer, History: v1.History{Created: v1.Time{Time: layer.Made}, CreatedBy: "gitd image create"}})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: layer.Made}
	config.Author, config.Container = "gitd", ""
	config.Config = v1.Config{
		User:         fmt.Sprintf("%d:%d", User, User),
		Env:          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/" + Data, "LC_ALL=C.UTF-8"},
		Entrypoint:   []string{"/usr/local/bin/gitd"},
		Cmd:          []string{"serve"},
		WorkingDir:   "/" + Data,
		Volumes:      map[string]struct{}{"/" + Data: {}},
		ExposedPorts: map[string]struct{}{"2222/tcp": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title":    "gitd",
			"org.opencontainers.image.version":  o.Version,
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return mutate.ConfigFile(img, config)
}

// static refuses what cannot run in the image: a program that needs this machine's libraries, or another machine.
func static(file string) error {
	const next = "build it with CGO_ENABLED=0 (make build does), or name one: --binary FILE"
	f, err := elf.Open(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return app.Errorf(app.CodeInvalidInput, "name the gitd binary: --binary FILE", "the binary %s cannot be read: %w", file, err)
	}
	if err != nil {
		return app.Errorf(app.CodeInvalidInput, next, "%s is no Linux program: %w", file, err)
	}
	defer f.Close()
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]; want != f.Machine {
		return app.Errorf(app.CodeInvalidInput, next, "%s is for another kind of machine (%s)", file, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return app.Errorf(app.CodeInvalidInput, next, "%s is dynamically linked: it runs only where this machine's libraries are", file)
		}
	}
	return nil
}

// programsIn returns the programs of the folder, sorted. All of the known ones must be there. gitd-builder is left out: it works
// for root alone, which gitd in a cluster is not.
func programsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "run make build, or name the folder: --parts DIR", "the programs that are shipped beside gitd are missing from %s: %w", dir, err)
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") && e.Name() != parts.Builder {
			names = append(names, e.Name())
		}
	}
	for _, n := range []string{parts.Shim, parts.Buildpacks, parts.Lifecycle, parts.Launcher} {
		if !slices.Contains(names, n) {
			return nil, app.Errorf(app.CodeUnavailable, "run make build, or name the folder: --parts DIR", "the program %s is missing in %s", n, dir)
		}
	}
	slices.Sort(names)
	return names, nil
}

// withUser returns the base's lists of users and groups, with ours added.
func withUser(base v1.Image) (map[string][]byte, error) {
	lists := map[string][]byte{"etc/passwd": nil, "etc/group": nil}
	r := mutate.Extract(base)
	defer r.Close()
	for t, left := tar.NewReader(r), len(lists); left > 0; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, app.Errorf(app.CodeUnavailable, "try again; for the base image of a registry, check that it can be pulled", "the base image cannot be read: %w", err)
		}
		if _, wanted := lists[strings.TrimPrefix(h.Name, "./")]; wanted && h.Typeflag == tar.TypeReg {
			if lists[strings.TrimPrefix(h.Name, "./")], err = io.ReadAll(io.LimitReader(t, 1<<20)); err != nil {
				return nil, err
			}
			left--
		}
	}
	add := func(name, line string) {
		b := lists[name]
		if len(b) > 0 && b[len(b)-1] != '\n' {
			b = append(b, '\n')
		}
		if !bytes.HasPrefix(b, []byte("gitd:")) && !bytes.Contains(b, []byte("\ngitd:")) {
			lists[name] = append(b, line...)
		}
	}
	add("etc/passwd", fmt.Sprintf("gitd:x:%d:%d:gitd:/%s:/usr/sbin/nologin\n", User, User, Data))
	add("etc/group", fmt.Sprintf("gitd:x:%d:\n", User))
	return lists, nil
}

// writeLayer writes gitd, its parts, its user and its data directory, always in the same order.
func writeLayer(out io.Writer, o Options, programs []string, users map[string][]byte) error {
	w := layer.NewWriter(out)
	steps := []func() error{
		func() error { return w.Bytes("etc/group", 0o644, users["etc/group"]) },
		func() error { return w.Bytes("etc/passwd", 0o644, users["etc/passwd"]) },
		func() error { return w.Dir(Home, 0o755, 0) },
		func() error { return w.Program(Home+"/gitd", o.Binary) },
		func() error { return w.Dir(Home+"/parts", 0o755, 0) },
		func() error {
			for _, p := range programs {
				if err := w.Program(Home+"/parts/"+p, filepath.Join(o.Parts, p)); err != nil {
					return err
				}
			}
			return nil
		},
		func() error { return w.Link("usr/local/bin/gitd", "/"+Home+"/gitd") },
		func() error { return w.Dir(Data, 0o700, User) },
		w.Close,
	}
	for _, s := range steps {
		if err := s(); err != nil {
			return err
		}
	}
	return nil
}

package golang

import (
	"bufio"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/node"
)

// assets runs the build script of the app's front end, where it has one.
func (b Buildpack) assets(ctx libcnb.BuildContext, cache *kit.Cache) error {
	folder := frontend(ctx.Application.Path)
	if folder == "" || b.Assets == nil {
		return nil
	}
	kit.Say(b.Out, "Building the front end (%s)", path.Join(folder, "package.json"))
	return b.Assets(ctx, cache, kit.NewEnv(ctx.Platform.Environment), filepath.Join(ctx.Application.Path, folder))
}

// withNode makes assets with Node.js, of which nothing is left in the image.
func withNode(out io.Writer) func(libcnb.BuildContext, *kit.Cache, kit.Env, string) error {
	return func(ctx libcnb.BuildContext, cache *kit.Cache, env kit.Env, folder string) error {
		ctx.Application.Path = folder
		a, err := node.OpenAssets(out, ctx, cache, env)
		if err != nil {
			return err
		}
		if err := a.Install(); err != nil {
			return err
		}
		if err := a.Build(); err != nil {
			return err
		}
		return a.Remove()
	}
}

// frontend finds the folder whose package.json has a build script that makes what the program embeds or serves: the root, else the one that a go:embed
// without files points to. "" for none.
func frontend(app string) string {
	if hasBuild(app) {
		return "."
	}
	found := ""
	_ = walkPackages(app, func(dir, rel string) { // what cannot be read embeds nothing
		if found != "" {
			return
		}
		for _, p := range embedded(dir) {
			if !hasFiles(dir, p) {
				if found = ownerOf(app, path.Join(rel, p)); found != "" {
					return
				}
			}
		}
	})
	return found
}

func hasBuild(dir string) bool {
	p, err := node.ReadPackage(dir)
	return err == nil && kit.Exists(dir, "package.json") && p.HasBuild()
}

// ownerOf is the innermost folder above a path of the app that has a package.json with a build script.
func ownerOf(app, name string) string {
	for dir := path.Dir(name); filepath.IsLocal(dir) && dir != "."; dir = path.Dir(dir) {
		if hasBuild(filepath.Join(app, dir)) {
			return dir
		}
	}
	return ""
}

// embedded lists the patterns of the go:embed lines of a folder's Go files.
func embedded(dir string) (patterns []string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.go")) // dir is the app's: a pattern in it that is malformed embeds nothing
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if list, ok := strings.CutPrefix(lines.Text(), "//go:embed "); ok {
				for _, p := range strings.Fields(list) {
					patterns = append(patterns, path.Clean(strings.TrimPrefix(strings.Trim(p, "\"`"), "all:")))
				}
			}
		}
		f.Close()
	}
	return patterns
}

// hasFiles tells whether a pattern matches more than the files that keep a folder in git.
func hasFiles(dir, pattern string) bool {
	found, _ := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
	for _, f := range found {
		any := false
		_ = filepath.WalkDir(f, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), ".") {
				any = true
				return fs.SkipAll
			}
			return nil // what cannot be read is not there
		})
		if any {
			return true
		}
	}
	return false
}

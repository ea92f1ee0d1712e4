package rust

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// debian are the packages that have cargo and the compiler, the newer one first: Debian keeps one that is new enough for the browsers beside the one that
// its release came with.
var debian = []struct{ cargo, rustc string }{{"cargo-web", "rustc-web"}, {"cargo", "rustc"}}

// own is the toolchain of the builder's distribution that fits best: the newest one, where no other fits better.
func (b Buildpack) own(w wanted, env kit.Env, cache *kit.Cache) (toolchain, error) {
	if b.Root != "" {
		return b.local()
	}
	tool, err := debs.Open(cache, env, b.Out)
	if err != nil {
		return toolchain{}, err
	}
	var best *debs.Set
	var have toolchain
	for _, d := range debian {
		set, rerr := tool.Resolve(debs.Request{Packages: []string{d.cargo}})
		if rerr != nil {
			err = rerr
			continue
		}
		version, _, _ := strings.Cut(set.Version(d.rustc), "+")
		if best == nil || w.fits(version) {
			best, have = set, toolchain{version: version, source: "Debian"}
		}
		if w.fits(version) {
			break
		}
	}
	if best == nil {
		return toolchain{}, err
	}
	dir, err := tool.InCache(best, cache, "rust-debian")
	if err != nil {
		return toolchain{}, err
	}
	have.bin, have.env = filepath.Join(dir, "usr/bin"), debs.Environment(dir)
	return have, nil
}

// local is the toolchain in Root.
func (b Buildpack) local() (toolchain, error) {
	bin := filepath.Join(b.Root, "bin")
	out, err := kit.Cmd{Args: []string{filepath.Join(bin, "rustc"), "--version"}, Env: kit.Env{}, Out: b.Out, Name: "rustc"}.Output()
	if err != nil {
		return toolchain{}, err
	}
	words := strings.Fields(string(out)) // rustc 1.85.0 (…)
	if len(words) < 2 {
		return toolchain{}, fmt.Errorf("rustc --version prints %q", out)
	}
	return toolchain{bin: bin, version: words[1], source: "the builder"}, nil
}

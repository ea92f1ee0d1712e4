package rust

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// toolchain is a rustc and a cargo.
type toolchain struct {
	bin     string // the folder of the programs; "" for none
	version string
	source  string // who made it
	env     debs.Variables
}

// findToolchain chooses the toolchain: the builder's where it fits, else that of the Rust project.
func (b Buildpack) findToolchain(w wanted, env kit.Env, cache *kit.Cache) (toolchain, error) {
	have, cause := b.own(w, env, cache)
	if cause == nil && w.fits(have.version) && len(w.targets) == 0 {
		return have, nil
	}
	channel := w.channel
	if channel == "" {
		channel = "stable"
	}
	t, err := b.fetch(channel, w, env, cache)
	if err == nil {
		return t, nil
	}
	var told *kit.Error
	if errors.As(err, &told) {
		return t, err
	}
	if have.bin == "" && cause != nil && w.channel == "" && w.minimum == "" {
		return t, cause
	}
	return b.instead(have, w, channel, err)
}

// fetch brings a toolchain of the Rust project into the app's cache.
func (b Buildpack) fetch(channel string, w wanted, env kit.Env, cache *kit.Cache) (toolchain, error) {
	d := newDist(env, b.Out)
	m, err := d.manifest(channel)
	if errors.Is(err, errNoChannel) {
		return toolchain{}, kit.Errorf("name a released version, such as stable", "%s asks for Rust %s, which does not exist", w.from, channel)
	}
	if err != nil {
		return toolchain{}, err
	}
	t := toolchain{version: m.version(), source: "the Rust project"}
	if w.channel == "" && !w.fits(t.version) {
		return t, kit.Errorf("name an older rust-version", "%s asks for Rust %s, the newest is %s", w.from, w.minimum, t.version)
	}
	root, err := cache.Dir("rust-toolchain")
	if err != nil {
		return t, err
	}
	dir := filepath.Join(root, kit.Key(m.Pkg["rustc"].Version, m.Pkg["cargo"].Version, strings.Join(w.targets, " "))[:20])
	t.bin = filepath.Join(dir, "bin")
	if kit.IsFile(t.bin, "rustc") {
		return t, nil
	}
	old, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		return t, err
	}
	for _, o := range old { // the app has moved on
		if err := os.RemoveAll(o); err != nil {
			return t, err
		}
	}
	kit.Say(b.Out, "Fetching Rust %s", t.version)
	return t, d.install(m, w.targets, dir)
}

// instead is what becomes of an app whose toolchain cannot be fetched for want of a network: a newer stable compiler builds what an older one built, so
// that it is taken, and said.
func (b Buildpack) instead(have toolchain, w wanted, channel string, cause error) (toolchain, error) {
	h, _ := parseVersion(have.version)
	c, parts := parseVersion(w.channel)
	numbers := parts > 0 && !strings.Contains(w.channel, "-")
	if have.bin != "" && len(w.targets) == 0 && numbers && c.less(h) {
		kit.Say(b.Out, "Warning: Rust %s cannot be fetched (%v): Rust %s of %s, which is newer, builds the app", channel, cause, have.version, have.source)
		return have, nil
	}
	what := "Rust " + channel
	if w.channel == "" {
		what = "Rust " + w.minimum + " or newer"
	}
	if len(w.targets) > 0 {
		what += " for " + strings.Join(w.targets, ", ")
	}
	next := "try again later, or set RUSTUP_DIST_SERVER to a mirror"
	if have.bin != "" {
		next += fmt.Sprintf("; Rust %s of %s can be had", have.version, have.source)
	}
	return toolchain{}, kit.Errorf(next, "%s asks for %s, which cannot be fetched: %v", w.from, what, cause)
}

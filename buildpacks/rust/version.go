package rust

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// wanted is the toolchain that the app asks for.
type wanted struct {
	channel string   // "stable", "1.85", "1.85.1", "nightly-2026-01-31"; "" where only the minimum counts
	minimum string   // rust-version: the oldest that will do; "" for any
	targets []string // for which the standard library is needed too
	from    string   // what says so
}

// describe says it in a line.
func (w wanted) describe() string {
	switch {
	case w.channel != "":
		return fmt.Sprintf("Rust %s by %s", w.channel, w.from)
	case w.minimum != "":
		return "Rust " + w.minimum + " or newer by " + w.from
	}
	return "any Rust"
}

var (
	channelForm = pattern.New(`^(?:(?:stable|beta|nightly)(?:-\d{4}-\d{2}-\d{2})?|\d+\.\d+(?:\.\d+)?(?:-beta(?:\.\d+)?)?)$`)
	hostSuffix  = pattern.New(`-(?:x86_64|aarch64|i686|armv7)-[a-z0-9_-]+$`)
	targetForm  = pattern.New(`^[a-z0-9_.-]{3,60}$`)
)

// wantedToolchain reads what rustup, asdf and mise read, and then the manifests' rust-version.
func wantedToolchain(app string, env kit.Env, f found) (wanted, error) {
	w := wanted{minimum: f.minimum, from: "Cargo.toml"}
	channel, from := env["BP_RUST_TOOLCHAIN"], "BP_RUST_TOOLCHAIN"
	if channel == "" {
		var err error
		if channel, from, w.targets, err = toolchainFile(app); err != nil {
			return w, err
		}
	}
	if channel == "" {
		for _, file := range []string{".tool-versions", "mise.toml", ".mise.toml"} {
			read := kit.MiseVersions
			if file == ".tool-versions" {
				read = kit.AsdfVersions
			}
			if v := read(app, file, "rust"); len(v) > 0 && v[0] != "latest" {
				channel, from = v[0], file
				break
			}
		}
	}
	channel = hostSuffix.ReplaceAllString(strings.TrimSpace(channel), "")
	if channel == "" {
		return w, nil
	}
	if !channelForm.MatchString(channel) {
		return w, kit.Errorf("write stable, or a version such as 1.85", "%s asks for the Rust toolchain %q, which is no channel", from, channel)
	}
	w.channel, w.from = channel, from
	return w, nil
}

// toolchainFile reads rust-toolchain.toml, or rust-toolchain, which may be TOML or one line.
func toolchainFile(app string) (channel, file string, targets []string, err error) {
	for _, file := range []string{"rust-toolchain", "rust-toolchain.toml"} { // rustup's own order
		if !kit.IsFile(app, file) {
			continue
		}
		text := kit.Text(app, file)
		if file == "rust-toolchain" && !strings.Contains(text, "[") {
			if lines := kit.VersionLines(app, file); len(lines) > 0 {
				return lines[0], file, nil, nil
			}
			continue
		}
		var t struct {
			Toolchain struct {
				Channel, Path string
				Targets       []string
			}
		}
		if err := toml.Unmarshal([]byte(text), &t); err != nil {
			return "", file, nil, kit.Errorf("correct it", "%s cannot be read: %s", file, kit.First(err.Error()))
		}
		if t.Toolchain.Path != "" {
			return "", file, nil, kit.Errorf("name a channel instead", "%s names a folder with a toolchain (%s), which a build does not have", file, t.Toolchain.Path)
		}
		for _, target := range t.Toolchain.Targets {
			if targetForm.MatchString(target) && len(targets) < 10 {
				targets = append(targets, target)
			}
		}
		return t.Toolchain.Channel, file, targets, nil
	}
	return "", "", nil, nil
}

// version is the numbers of a version; missing ones are 0.
type version [3]int

// parseVersion reads 1, 1.85 or 1.85.1; what follows the numbers does not count.
func parseVersion(s string) (v version, parts int) {
	for i, p := range strings.SplitN(s, ".", 3) {
		end := strings.IndexFunc(p, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(p)
		}
		n, err := strconv.Atoi(p[:end])
		if err != nil {
			return v, i
		}
		v[i] = n
		if end < len(p) {
			return v, i + 1
		}
	}
	return v, min(3, strings.Count(s, ".")+1)
}

func (v version) less(o version) bool {
	for i := range v {
		if v[i] != o[i] {
			return v[i] < o[i]
		}
	}
	return false
}

// newer returns the newer of two versions, either of which may be "".
func newer(a, b string) string {
	x, _ := parseVersion(a)
	y, n := parseVersion(b)
	if n > 0 && (a == "" || x.less(y)) {
		return b
	}
	return a
}

// fits tells whether a version will do.
func (w wanted) fits(have string) bool {
	h, _ := parseVersion(have)
	if w.minimum != "" {
		if m, _ := parseVersion(w.minimum); h.less(m) {
			return false
		}
	}
	if w.channel == "" || w.channel == "stable" {
		return true
	}
	c, parts := parseVersion(w.channel)
	if parts == 0 || strings.Contains(w.channel, "-") {
		return false // a nightly or beta
	}
	for i := range parts {
		if c[i] != h[i] {
			return false
		}
	}
	return true
}

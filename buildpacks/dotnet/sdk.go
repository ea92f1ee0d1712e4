package dotnet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// sdk is the SDK that builds the app.
type sdk struct {
	component
	root string // its folder, with the program dotnet
}

// findSDK chooses the SDK and puts it into the app's cache.
func (b *build) findSDK() error {
	g, err := readGlobal(b.app)
	if err != nil {
		return err
	}
	if b.targets, err = findTargets(b.app, b.env); err != nil {
		return err
	}
	c, err := b.chooseSDK(g)
	if err != nil {
		return err
	}
	if g.version != "" && g.version != c.Version {
		kit.Say(b.Out, ".NET SDK %s (%s asks for %s, %s)", c.Version, globalFile, g.version, g.roll)
	} else {
		kit.Say(b.Out, ".NET SDK %s", c.Version)
	}
	if b.targets.why != "" {
		kit.Say(b.Out, "%s is the app: %s", b.targets.main.path, b.targets.why)
	}
	b.sdk = sdk{component: c}
	b.sdk.root, err = b.installed("sdk", c.Version, c.archive("dotnet-sdk-"), leftOut...)
	return err
}

// leftOut are parts of an SDK that no publication reads: templates, tools for people, and texts in other languages.
var leftOut = []string{"./templates", "sdk/*/DotnetTools/dotnet-watch", "sdk/*/TestHostNetFramework", "sdk/*/cs", "sdk/*/de", "sdk/*/es", "sdk/*/fr", "sdk/*/it", "sdk/*/ja", "sdk/*/ko",
	"sdk/*/pl", "sdk/*/pt-BR", "sdk/*/ru", "sdk/*/tr", "sdk/*/zh-Hans", "sdk/*/zh-Hant"}

// chooseSDK finds the SDK that global.json asks for; without one, the newest of the line that the projects target.
func (b *build) chooseSDK(g global) (component, error) {
	list, err := b.feed.channels()
	if err != nil {
		return component{}, err
	}
	if g.version != "" {
		return b.pinnedSDK(g, list)
	}
	want := b.targets.newest.channel
	if b.targets.newest.older() {
		want = newestLTS(list)
	}
	if v := b.languageChannel(); kit.CompareVersions(numbers(v), numbers(want)) > 0 {
		want = v
	}
	r, found, err := b.feed.releases(want)
	if err != nil {
		return component{}, err
	}
	all := r.sdks()
	if !found || len(all) == 0 {
		return component{}, kit.Errorf("target one of these: "+known(list), "%s targets %s, which does not exist", b.targets.main.path, b.targets.newest.name)
	}
	return slices.MaxFunc(all, func(a, b component) int { return compare(a.Version, b.Version) }), nil
}

// languageChannel is the line whose SDK first knew the C# that a project asks for by its number.
func (b *build) languageChannel() string {
	var version int
	if _, err := fmt.Sscanf(b.targets.main.property("langversion"), "%d", &version); err != nil || version < 10 || version > 99 {
		return ""
	}
	return fmt.Sprintf("%d.0", version-4)
}

// newestLTS is the newest line with long support, else the newest that is released.
func newestLTS(list []channel) string {
	for _, lts := range []bool{true, false} {
		for _, c := range list {
			if (c.Type == "lts" || !lts) && c.Phase != "preview" && c.Phase != "go-live" {
				return c.Version
			}
		}
	}
	return ""
}

// known lists the lines that run here.
func known(list []channel) string {
	var names []string
	for _, c := range list {
		if kit.CompareVersions(numbers(c.Version), firstHere) >= 0 {
			names = append(names, "net"+c.Version)
		}
	}
	return strings.Join(names, ", ")
}

// pinnedSDK is the one that global.json leads to.
func (b *build) pinnedSDK(g global, list []channel) (component, error) {
	want := levels(g.version)
	own := fmt.Sprintf("%d.%d", want[0], want[1])
	var have []component
	var versions []string
	for _, c := range list {
		n := numbers(c.Version)
		if c.Version != own && (len(n) < 2 || n[0] < want[0] || !strings.HasSuffix(g.roll, "minor") && !strings.HasSuffix(g.roll, "major") || strings.HasSuffix(g.roll, "minor") && n[0] != want[0]) {
			continue
		}
		r, _, err := b.feed.releases(c.Version)
		if err != nil {
			return component{}, err
		}
		have = append(have, r.sdks()...)
	}
	for _, c := range have {
		versions = append(versions, c.Version)
	}
	best := g.choose(versions)
	i := slices.Index(versions, best)
	if best == "" || i < 0 {
		return component{}, b.noSDK(g, own, versions, list)
	}
	if f := (framework{channel: own}); f.older() && strings.HasPrefix(best, own+".") {
		return component{}, kit.Errorf("ask for a newer one, such as "+newestLTS(list)+".100: it builds "+b.targets.main.path+" as well",
			"%s asks for the SDK %s, which needs OpenSSL 1.1 and does not run here", globalFile, g.version)
	}
	return have[i], nil
}

// noSDK says which SDKs can be had instead.
func (b *build) noSDK(g global, own string, versions []string, list []channel) error {
	newest := map[string]string{} // by the band
	var bands []string
	for _, v := range versions {
		l := levels(v)
		band := fmt.Sprintf("%d.%d.%d", l[0], l[1], l[2])
		if newest[band] == "" {
			bands = append(bands, band)
		}
		if newest[band] == "" || compare(v, newest[band]) > 0 {
			newest[band] = v
		}
	}
	var names []string
	for _, band := range bands {
		names = append(names, newest[band])
	}
	if len(names) == 0 {
		return kit.Errorf("ask for one of a line that there is: "+known(list), "%s asks for the SDK %s, and there is no .NET %s", globalFile, g.version, own)
	}
	return kit.Errorf("ask for one of these, or for an older one with rollForward latestFeature: "+strings.Join(names[:min(len(names), 6)], ", "),
		"%s asks for the SDK %s (rollForward %s), which does not exist", globalFile, g.version, g.roll)
}

var safe = pattern.New(`[^A-Za-z0-9.-]`)

// installed returns the folder of the app's cache that has an archive's content, filled once. What is there of the same kind and another version goes.
func (b *build) installed(kind, version string, a *file, skip ...string) (string, error) {
	root, err := b.cache.Dir("dotnet-" + kind)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, safe.ReplaceAllString(version, "_")+"-"+kit.Key(append([]string{strings.ToLower(a.Hash)}, skip...)...)[:16])
	if kit.IsFile(dir, "dotnet") {
		return dir, nil
	}
	if err := errors.Join(os.RemoveAll(root), os.MkdirAll(root, 0o755)); err != nil {
		return "", err
	}
	kit.Say(b.Out, "Fetching the .NET %s %s", kit.Pick(kind == "sdk", "SDK", kind), version)
	part := filepath.Join(root, "part")
	if err := b.feed.unpack(a, part, skip...); err != nil {
		return "", err
	}
	if !kit.IsFile(part, "dotnet") {
		return "", kit.Errorf("see what "+settingMirror+" names", "the archive %s has no program dotnet", a.URL)
	}
	return dir, os.Rename(part, dir)
}

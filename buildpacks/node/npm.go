package node

import (
	"path/filepath"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// npmFor lists which npm runs on which Node.js, by the engines of their last versions, the one that came with a Node.js before newer ones.
var npmFor = []struct{ npm, node string }{
	{"", ">=22.9.0 || ^20.17.0"}, // the builder's own
	{"10", ">=20.5.0 || ^18.17.0"},
	{"9", ">=18.0.0 || ^16.13.0 || ^14.17.0"},
	{"8", ">=16.0.0"},
	{"7", ">=15.0.0"},
	{"6", ">=14.0.0 || ^12.0.0 || >=9.3.0 || ^8.0.0 || ^6.2.0"},
	{"4", ">=4.0.0"},
}

// otherNPM puts an npm in front where the builder's does not run on the app's Node.js, or is not the one that the app asks for.
func (b *build) otherNPM() error {
	want, err := npmVersion(b.node.version)
	if err != nil {
		return err
	}
	if asked := b.rootPkg.askedNPM(); asked != "" {
		has := kit.Pick(want == "", moduleVersion(filepath.Join(b.Root, "lib"), "npm"), want+".999.999")
		if !inRange(asked, has) {
			want = asked
		}
	}
	if want == "" {
		return nil
	}
	tools, err := b.cache.Dir("node-tools")
	if err != nil {
		return err
	}
	dir := filepath.Join(tools, folderName("npm@"+want))
	if !kit.Exists(dir, "node_modules/.bin/npm") {
		kit.Say(b.Out, "Fetching npm %s", want)
		env := b.env
		// The builder's own npm needs the builder's own Node.js.
		b.env = env.Clone()
		b.env.Prepend(filepath.Join(b.Root, "bin"))
		err := b.fetchTo(dir, "npm", "npm", want, "engines in package.json, or the app's Node.js")
		b.env = env
		if err != nil {
			return err
		}
	}
	b.npm = filepath.Join(dir, "node_modules/npm")
	b.env.Prepend(filepath.Join(dir, "node_modules/.bin"))
	return nil
}

// askedNPM is the range of versions of npm that the app takes; "" for any. packageManager is not asked: tools write npm's own version there unasked, and
// npm itself does not mind it.
func (p *Package) askedNPM() string {
	for _, v := range []string{p.devEngine("packageManager", "npm").Version, p.Volta.NPM, p.engine("npm")} {
		if v = strings.TrimSpace(v); v != "" {
			if _, err := semver.NewConstraint(v); err != nil || v == "*" || v == "latest" {
				return ""
			}
			return v
		}
	}
	return ""
}

// inRange tells whether a version is in a range; one that cannot be read is.
func inRange(limits, version string) bool {
	c, err := semver.NewConstraint(limits)
	if err != nil {
		return true
	}
	v, err := semver.NewVersion(version)
	return err != nil || c.Check(v)
}

// npmVersion is the npm for a Node.js: a major version, "" for the builder's own.
func npmVersion(node string) (string, error) {
	v, err := semver.NewVersion(node)
	if err != nil {
		return "", err
	}
	for _, f := range npmFor {
		c, err := semver.NewConstraint(f.node)
		if err != nil {
			return "", err
		}
		if c.Check(v) {
			return f.npm, nil
		}
	}
	return "", kit.Errorf("ask for Node.js 4 or newer; releases before 18 get no more security fixes", "no npm runs on Node.js %s", node)
}

// calls tells whether one of the lines names a program.
func calls(lines []string, program string) bool {
	for _, line := range lines {
		for _, part := range operators.Split(line, -1) {
			for _, w := range strings.Fields(part) {
				if strings.Trim(w, `"'()`) == program {
					return true
				}
			}
		}
	}
	return false
}

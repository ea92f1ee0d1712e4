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

// olderNPM puts an npm in front that runs on the app's Node.js, where the builder's does not.
func (b *build) olderNPM() error {
	want, err := npmVersion(b.node.version)
	if err != nil || want == "" {
		return err
	}
	tools, err := b.cache.Dir("node-tools")
	if err != nil {
		return err
	}
	dir := filepath.Join(tools, "npm@"+want)
	if !kit.Exists(dir, "node_modules/.bin/npm") {
		kit.Say(b.Out, "Fetching npm %s, which runs on Node.js %s", want, b.node.version)
		env := b.env
		// The builder's own npm needs the builder's own Node.js.
		b.env = env.Clone()
		b.env.Prepend(filepath.Join(b.Root, "bin"))
		err := b.npmInstall(dir, "npm@"+want)
		b.env = env
		if err != nil {
			return err
		}
	}
	b.env.Prepend(filepath.Join(dir, "node_modules/.bin"))
	return nil
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

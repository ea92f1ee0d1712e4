package java

import (
	"errors"
	"io/fs"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/node"
	"github.com/gitd-io/gitd/internal/pattern"
)

var (
	// callsNode finds a call of Node.js or of a package manager in a build file: <executable>yarn, commandLine 'npm', Process("npm …").
	callsNode = pattern.New(`<executable>\s*(?:npm|npx|yarn|pnpm|node|bun)\b|(?i:commandLine|executable|Process)\b[^\n]*["'\s(](?:npm|npx|yarn|pnpm|node|bun)\b`)
	// fetchesNode finds a plugin that brings Node.js by itself.
	fetchesNode = pattern.New(`frontend-maven-plugin|frontend-gradle-plugin|node-gradle|com\.moowork\.node|NpmTask|YarnTask|sbt-js-engine|sbt-web`)
)

// frontend makes what the app has of JavaScript: where the app's own build calls Node.js, it is there for it; where nothing does, the build script of
// package.json is run first.
func (b *build) frontend() error {
	if b.source.tool == archive {
		return nil
	}
	text := kit.Text(b.app, "pom.xml") + gradleTexts(b.app) + sbtTexts(b.app)
	p, err := node.ReadPackage(b.app)
	if errors.Is(err, fs.ErrNotExist) {
		p, err = &node.Package{}, nil
	}
	if err != nil {
		return err
	}
	calls := callsNode.MatchString(text)
	if !calls && (!p.HasBuild() || fetchesNode.MatchString(text)) {
		return nil
	}
	a, err := node.OpenAssets(b.Out, b.ctx, b.cache, b.env)
	if err != nil {
		return err
	}
	b.assets = a
	if calls {
		return nil
	}
	if err := a.Install(); err != nil {
		return err
	}
	return a.Build()
}

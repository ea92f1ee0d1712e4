package golang

import (
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

var (
	compilerLine = pattern.New(`^(?:vet: )?(?:\./)?(\S+\.go:\d+(?::\d+)?: .+)$`)
	noEmbed      = pattern.New(`pattern (\S+): no matching files found`)
	noModule     = pattern.New(`(?:^|\s)([\w.~-]+\.[\w.~-]+/[\w.~/-]+)(?:@(\S+?))?: (?:reading |invalid version|module [^ ]+: |git |unrecognized import path|no matching versions|unknown revision)`)
	refused      = pattern.New(`terminal prompts disabled|could not read Username|Repository not found|404 Not Found|410 Gone|Permission denied \(publickey\)|Authentication failed|Host key verification failed|not found: `)
	missingSum   = pattern.New(`missing go\.sum entry|go\.mod file indicates|updates to go\.(?:mod|sum|work) needed|updating go\.(?:mod|sum|work)`)
	noRequired   = pattern.New(`no required module provides package (\S+?);|cannot find module providing package ([^\s:]+)|package (\S+) is not in std`)
)

// reason says why go build failed, by what it printed.
func reason(text, file string, err error) error {
	if l, ok := kit.FindLack(text); ok {
		return kit.Errorf(l.Next(), "a package in C needs %s, which is not in the builder", l.What)
	}
	if m := noModule.FindStringSubmatch(text); m != nil && refused.MatchString(text) {
		return kit.Errorf("if it is private, run go mod vendor and commit vendor/; if it has moved, correct go.mod", "the module %s cannot be fetched: it is not public, or not there", m[1])
	}
	if strings.Contains(text, "inconsistent vendoring") {
		return kit.Errorf("run go mod vendor, commit vendor/ and push again", "vendor/ does not fit %s", file)
	}
	if missingSum.MatchString(text) {
		return kit.Errorf("run go mod tidy, commit go.mod and go.sum, and push again", "go.mod and go.sum do not fit the app")
	}
	if m := noRequired.FindStringSubmatch(text); m != nil {
		return kit.Errorf("run go mod tidy, commit go.mod and go.sum, and push again", "no module of go.mod has the package %s", m[1]+m[2]+m[3])
	}
	if m := noEmbed.FindStringSubmatch(text); m != nil {
		return kit.Errorf("commit it, or have the build script of a package.json beside it make it", "go:embed names %s, which is not in the app", m[1])
	}
	for line := range strings.Lines(text) {
		if m := compilerLine.FindStringSubmatch(strings.TrimRight(line, "\r\n")); m != nil {
			return kit.Errorf("", "go build failed: %s", m[1])
		}
	}
	return err
}

package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestReason: what tools print, and what a person is told.
func TestReason(t *testing.T) {
	tests := []struct{ name, kind, said, want string }{
		{"npm's stale lock file", "npm", "npm error code EUSAGE\nnpm error `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync.\nnpm error Missing: ms@2.1.3 from lock file\n",
			"package-lock.json does not fit package.json: it lacks ms@2.1.3; run npm install, and commit package-lock.json"},
		{"another version in npm's lock file", "npm", "npm error `npm ci` can only install\nnpm error Invalid: lock file's ms@2.1.2 does not satisfy ms@2.1.3\n",
			"package-lock.json does not fit package.json: it has ms@2.1.2 instead of ms@2.1.3; run npm install, and commit package-lock.json"},
		{"pnpm's stale lock file", "pnpm", " ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with \"frozen-lockfile\"\n\n  Failure reason:\n  specifiers in the lockfile don't match specs in package.json:\n* 1 dependencies were added: ms@2.1.3\n\n",
			"pnpm-lock.yaml does not fit package.json: 1 dependencies were added: ms@2.1.3; run pnpm install, and commit pnpm-lock.yaml"},
		{"yarn's stale lock file", "berry", "➤ YN0028: │ -  dependencies:\n➤ YN0028: │ +    ms: \"npm:2.1.3\"\n", "yarn.lock does not fit package.json: ms; run yarn install, and commit yarn.lock"},
		{"peers", "npm", "npm error code ERESOLVE\nnpm error ERESOLVE could not resolve\nnpm error   peer react@\"^17\" from foo@1.0.0\n",
			"X failed: the versions in package.json do not fit each other: foo@1.0.0 needs react@^17; choose versions that do, or write legacy-peer-deps=true into .npmrc and commit it"},
		{"peers, of which the first are met", "npm", "npm error code ERESOLVE\nnpm error   peer @a/common@\"20.3.35\" from @a/forms@20.3.35\nnpm error Could not resolve dependency:\nnpm error @a/server@\"^20\" from the root project\nnpm error Conflicting peer dependency: @a/common@20.3.32\nnpm error   peer @a/common@\"20.3.32\" from @a/server@20.3.32\n",
			"X failed: the versions in package.json do not fit each other: @a/server@20.3.32 needs @a/common@20.3.32; choose versions that do, or write legacy-peer-deps=true into .npmrc and commit it"},
		{"no such version", "npm", "npm error code ETARGET\nnpm error notarget No matching version found for ms@99.\n", "X failed: the package registry has no ms@99; choose a version that is there: npm view NAME versions"},
		{"no such package", "npm", "npm error 404  The requested resource 'nopackage@^1' could not be found\nnpm error 404  'nopackage@^1' is not in this registry.\n", "X failed: the package registry has no nopackage@^1; correct its name; a private package needs .npmrc with its registry"},
		{"nor may it be seen", "npm", "npm error 404 Not Found - GET https://registry.example.com/@a%2fb\nnpm error 404  The requested resource '@a/b@^1.0.0' could not be found or you do not have permission to access it.\n", "X failed: the package registry has no @a/b@^1.0.0; correct its name; a private package needs .npmrc with its registry"},
		{"heap", "npm", "<--- Last few GCs --->\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n", "X failed: Node.js's heap was full (1536 MB); ask the operator for more memory for builds: gitd serve --build-memory 4Gi"},
		{"a missing program", "npm", "> build\n> vite build\n\nsh: 1: vite: not found\n", "X failed: the program vite is not there; add the package vite to devDependencies"},
		{"a missing program of another package", "yarn", "$ tsc\n/bin/sh: 1: tsc: not found\nerror Command failed with exit code 127.\n", "X failed: the program tsc is not there; add the package typescript to devDependencies"},
		{"a missing program of bun's", "bun", "$ vite build\n/usr/bin/bash: line 1: vite: command not found\n", "X failed: the program vite is not there; add the package vite to devDependencies"},
		{"a program of Debian", "npm", "sh: 1: cmake: not found\n", "X failed: the program cmake is not there; add the Debian package cmake: [io.gitd.build] packages in project.toml"},
		{"an install script without its host", "npm", "npm error code 1\nnpm error path /workspace/node_modules/sharp\nnpm error command failed\nnpm error getaddrinfo ENOTFOUND github.com\n",
			"X failed: the install script of the package sharp cannot reach github.com; allow it, or take a version that needs no download"},
		{"an install script", "npm", "npm error code 1\nnpm error path /workspace/node_modules/@a/b\nnpm error command failed\n", "X failed: the install script of the package @a/b failed; its lines above say why"},
		{"a header", "npm", "npm error path /workspace/node_modules/canvas\n../src/a.cc:1:10: fatal error: cairo.h: No such file or directory\n", "X failed: the package canvas is compiled, and lacks the header cairo.h; add packages = [\"libcairo2-dev\"] to [io.gitd.build] in project.toml"},
		{"Google's fonts", "npm", "Failed to fetch `Geist Mono` from Google Fonts.\n", "X failed: fonts.googleapis.com cannot be reached from the build; see that builds reach it, or keep the fonts in the app (next/font/local)"},
		{"git", "npm", "fatal: unable to access 'https://github.com/a/b.git/': Could not resolve host: github.com\n", "X failed: github.com cannot be reached from the build; see that builds reach it, or do without it"},
		{"a missing module", "npm", "Error: Cannot find module '@a/b/c'\n", "X failed: the package @a/b is not installed; add it to package.json: npm install @a/b"},
		{"a file that a package lacks", "npm", "Error: Cannot find module 'there/lib/x'\n", "X failed: the installed version of the package there has no lib/x; a lock file keeps the versions that fit each other: commit the one of a computer where it works"},
		{"webpack 4", "npm", "Error: error:0308010C:digital envelope routines::unsupported\n", `X failed: its webpack uses a hash that Node.js 24.1.0 does not have; set "engines": {"node": "16.x"} in package.json, or update webpack`},
		{"packages that do not fit each other, without a lock file", "", "✖ ERROR TypeError: x is not a function\n    at /gitd-cache/node_modules/plugin/index.js:66:49\n", "X failed: TypeError: x is not a function; without a lock file each build takes the newest packages, and these may not fit each other: commit the lock file of a computer where it works"},
		{"options that another package does not know", "", "[ERROR] Error: Unable to build website for locale en.\n    at x (/gitd-cache/node_modules/core/build.js:78:15) {\n  [cause]: ValidationError: Invalid options object. Progress Plugin has been initialized using an options object that does not match the API schema.\n   - options has an unknown property 'name'.\n      at y (/gitd-cache/node_modules/webpack/lib/z.js:1:2)\n",
			"X failed: ValidationError: Invalid options object. Progress Plugin has been initialized using an options object that does not match the API schema; without a lock file each build takes the newest packages, and these may not fit each other: commit the lock file of a computer where it works"},
		{"the same with a lock file", "npm", "ValidationError: Invalid options object. Progress Plugin has been initialized using an options object that does not match the API schema.\n - options has an unknown property 'name'.\n", "X failed: ValidationError: Invalid options object. Progress Plugin has been initialized using an options object that does not match the API schema"},
		{"the same with one", "npm", "TypeError: x is not a function\n    at /gitd-cache/node_modules/plugin/index.js:66:49\n", "X failed"},
		{"anything else", "npm", "TypeError: x is not a function\n", "X failed"},
	}
	locks := map[string]string{"npm": "package-lock.json", "yarn": "yarn.lock", "berry": "yarn.lock", "pnpm": "pnpm-lock.yaml", "bun": "bun.lock"}
	app := t.TempDir()
	if err := os.MkdirAll(filepath.Join(app, "node_modules/there"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(app, "node_modules/there/package.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		b := &build{app: app, env: kit.Env{"NODE_OPTIONS": "--max-old-space-size=1536"}, node: nodeJS{version: "24.1.0"}}
		b.tool.manager = manager{kind: tt.kind, lock: locks[tt.kind]}
		if got := kit.Line(b.reason(tt.said, kit.Errorf("", "X failed"))); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

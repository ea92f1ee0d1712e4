package node

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestCallsByItself(t *testing.T) {
	for line, want := range map[string]string{
		`concurrently "npm:server" "npm:worker"`: "[npm]",
		`concurrently pnpm:dev:*`:                "[pnpm]",
		`run-p server worker`:                    "[npm]",
		`npm-run-all -p server worker`:           "[npm]",
		`node server.js --mode=run-p`:            "[]",
		`node npm:x.js`:                          "[npm]",
		`serve -s build`:                         "[]",
	} {
		found := []string{}
		for _, name := range []string{"npm", "pnpm", "yarn", "bun"} {
			if callsByItself([]string{line}, name) {
				found = append(found, name)
			}
		}
		if got := fmt.Sprint(found); got != want {
			t.Errorf("%s: %s, not %s", line, got, want)
		}
	}
}

func TestWithoutEnvFile(t *testing.T) {
	app := t.TempDir()
	if err := os.WriteFile(filepath.Join(app, "there.env"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b := &build{app: app}
	b.Out = &bytes.Buffer{}
	for line, want := range map[string]string{
		"node --env-file=.env server.js":                 "node server.js",
		"node --env-file .env.local --inspect server.js": "node --inspect server.js",
		"node --env-file=there.env server.js":            "node --env-file=there.env server.js",
		"node --env-file-if-exists=.env server.js":       "node --env-file-if-exists=.env server.js",
		"tsx --env-file=.env --env-file=a/.env x.ts":     "tsx x.ts",
		"node server.js": "node server.js",
	} {
		if got := b.withoutEnvFile(line); got != want {
			t.Errorf("%s: %q, not %q", line, got, want)
		}
	}
}

func TestStartable(t *testing.T) {
	app := t.TempDir()
	for file, text := range map[string]string{
		"client/package.json": `{"scripts":{"build":"vite build"}}`, "server/package.json": `{"scripts":{"start":"node index.js"}}`, "node_modules/package.json": `{"scripts":{"start":"x"}}`, "broken/package.json": "{",
	} {
		if err := os.MkdirAll(filepath.Join(app, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(app, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(startable(app)); got != "[server]" {
		t.Error(got)
	}
}

package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestChooseManager: packageManager decides as corepack has it, else the lock file; engines and Volta name versions.
func TestChooseManager(t *testing.T) {
	tests := []struct {
		name  string
		pkg   string
		files map[string]string
		want  string // kind version lock
	}{
		{"nothing", `{}`, nil, "npm  "},
		{"yarn's lock file counts more than npm's own field", `{"packageManager":"npm@11.0.0"}`, map[string]string{"yarn.lock": "# yarn lockfile v1\n"}, "yarn 1 yarn.lock"},
		{"packageManager with its lock file beside another", `{"packageManager":"yarn@1.22.22"}`, map[string]string{"yarn.lock": "", "package-lock.json": "{}"}, "yarn 1.22.22 yarn.lock"},
		{"two lock files", `{}`, map[string]string{"yarn.lock": "", "pnpm-lock.yaml": ""}, "pnpm 9 pnpm-lock.yaml"},
		{"yarn 4 by packageManager", `{"packageManager":"yarn@4.6.0+sha512.abc"}`, nil, "berry 4.6.0 "},
		{"yarn 3 by its lock file", `{}`, map[string]string{"yarn.lock": "\n__metadata:\n  version: 6\n"}, "berry 3 yarn.lock"},
		{"yarn 4 by its lock file", `{}`, map[string]string{"yarn.lock": "\n__metadata:\n  version: 8\n"}, "berry 4 yarn.lock"},
		{"yarn 2 by its lock file, whatever engines allow", `{"engines":{"yarn":">=1.22"}}`, map[string]string{"yarn.lock": "\n__metadata:\n  version: 4\n"}, "berry 2 yarn.lock"},
		{"a release that is not committed", `{}`, map[string]string{"yarn.lock": "\n__metadata:\n  version: 6\n", ".yarnrc.yml": "yarnPath: .yarn/releases/yarn-3.6.4.cjs\n"}, "berry 3.6.4 yarn.lock"},
		{"yarn 1 and engines", `{"engines":{"yarn":"1.22.x"}}`, map[string]string{"yarn.lock": ""}, "yarn 1.22.x yarn.lock"},
		{"yarn 1 and engines of npm", `{"engines":{"yarn":"please use npm"}}`, map[string]string{"yarn.lock": ""}, "yarn 1 yarn.lock"},
		{"pnpm 8 by its lock file", `{}`, map[string]string{"pnpm-lock.yaml": "lockfileVersion: '6.0'\n"}, "pnpm 8 pnpm-lock.yaml"},
		{"pnpm by engines", `{"engines":{"pnpm":"^10"}}`, map[string]string{"pnpm-lock.yaml": ""}, "pnpm ^10 pnpm-lock.yaml"},
		{"the usual pnpm where engines allow it", `{"engines":{"pnpm":">=8"}}`, map[string]string{"pnpm-lock.yaml": ""}, "pnpm 9 pnpm-lock.yaml"},
		{"pnpm by Volta", `{"volta":{"node":"22.1.0","pnpm":"10.2.0"}}`, map[string]string{"pnpm-lock.yaml": ""}, "pnpm 10.2.0 pnpm-lock.yaml"},
		{"pnpm by devEngines", `{"devEngines":{"packageManager":{"name":"pnpm","version":"10.1.0"}}}`, nil, "pnpm 10.1.0 "},
		{"pnpm 10 by its settings", `{}`, map[string]string{"pnpm-lock.yaml": "lockfileVersion: '9.0'\n", "pnpm-workspace.yaml": "onlyBuiltDependencies:\n  - esbuild\n"}, "pnpm 10 pnpm-lock.yaml"},
		{"pnpm 9 where it is older", `{}`, map[string]string{"pnpm-lock.yaml": "lockfileVersion: '9.0'\n", "pnpm-workspace.yaml": "packages:\n  - a\n"}, "pnpm 9 pnpm-lock.yaml"},
		{"pnpm by its workspace", `{}`, map[string]string{"pnpm-workspace.yaml": "packages:\n  - a\n"}, "pnpm 9 "},
		{"yarn 4 by its settings", `{}`, map[string]string{".yarnrc.yml": "nodeLinker: node-modules\n"}, "berry 4 "},
		{"bun by its lock file and version file", `{}`, map[string]string{"bun.lock": "", ".bun-version": "1.2.3\n"}, "bun 1.2.3 bun.lock"},
		{"bun by packageManager", `{"packageManager":"bun@1.2.9"}`, map[string]string{"package-lock.json": "{}"}, "bun 1.2.9 "},
		{"bun by a script", `{"scripts":{"start":"bun run src/index.ts"}}`, nil, "bun 1 "},
		{"bun by a script, with npm's lock file", `{"scripts":{"start":"bun run src/index.ts"}}`, map[string]string{"package-lock.json": "{}"}, "npm  package-lock.json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			app := t.TempDir()
			for name, text := range tt.files {
				if err := os.WriteFile(filepath.Join(app, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p := &Package{}
			if err := json.Unmarshal([]byte(tt.pkg), p); err != nil {
				t.Fatal(err)
			}
			m, err := chooseManager(app, p)
			if got := m.kind + " " + m.want + " " + m.lock; err != nil || got != tt.want {
				t.Errorf("%q %v, want %q", got, err, tt.want)
			}
		})
	}
}

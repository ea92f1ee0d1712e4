package node

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// bunPackage is the package of the registry that has the program bun for this machine. There are two for Intel: the other runs on processors without AVX2.
func bunPackage() string {
	if runtime.GOARCH == "arm64" {
		return "@oven/bun-linux-aarch64"
	}
	cpu, _ := os.ReadFile("/proc/cpuinfo") // without it, the one that runs everywhere
	if strings.Contains(string(cpu), " avx2") {
		return "@oven/bun-linux-x64"
	}
	return "@oven/bun-linux-x64-baseline"
}

// callsBun tells whether one of the scripts starts bun.
func (p *Package) callsBun() bool {
	var all []string
	for _, s := range p.Scripts {
		all = append(all, s)
	}
	return calls(all, "bun") || calls(all, "bunx")
}

// bunFiles are what bun is started with when nothing says what to start.
var bunFiles = []string{"index.ts", "server.ts", "app.ts", "main.ts", "src/index.ts", "src/server.ts", "src/app.ts", "src/main.ts", "index.tsx", "src/index.tsx"}

// bunFile is the file that bun is started with: module or main of package.json, else one of the usual names; "" for none.
func (p *Package) bunFile(app string) string {
	files := slices.Clone(bunFiles)
	for _, f := range []string{p.Main, p.Module} {
		if f != "" && filepath.IsLocal(f) {
			files = append([]string{f, strings.TrimSuffix(f, filepath.Ext(f)) + ".ts"}, files...)
		}
	}
	for _, f := range append(files, serverFiles...) {
		if kit.IsFile(app, f) {
			return f
		}
	}
	return ""
}

// usesBun tells whether the app is one of bun: by its lock file, packageManager, or what its scripts call.
func (p *Package) usesBun(app string) bool {
	m, err := chooseManager(app, p)
	return err == nil && m.kind == "bun"
}

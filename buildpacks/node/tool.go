package node

import (
	"crypto/sha1" // one of the hashes that corepack writes
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// tool is a package manager that is ready to run.
type tool struct {
	manager
	argv  []string // program and its first arguments
	store string   // where it keeps what it downloaded
}

// fetchTool makes the package manager ready: npm is in the builder, the others come from the registry by way of npm, once per
// version.
func (b *build) fetchTool(m manager) (tool, error) {
	t := tool{manager: m, argv: []string{"npm"}}
	var err error
	if t.store, err = b.cache.Downloads("node-" + m.kind); err != nil {
		return t, err
	}
	if m.pkg == "" {
		return t, nil
	}
	if m.path != "" {
		t.argv = []string{"node", filepath.Join(b.app, m.path)}
		return t, nil
	}
	tools, err := b.cache.Dir("node-tools")
	if err != nil {
		return t, err
	}
	dir := filepath.Join(tools, folderName(m.pkg+"@"+m.want+m.hash))
	root := filepath.Join(dir, "node_modules", m.pkg)
	if !kit.IsFile(root, "package.json") {
		kit.Say(b.Out, "Fetching %s %s", m.program(), m.want)
		if err := b.fetchPackage(dir, m); err != nil {
			return t, err
		}
	}
	if m.kind == "bun" {
		t.argv = []string{filepath.Join(root, "bin", "bun")}
		return t, nil
	}
	script, err := binOf(root, m.program())
	t.argv = []string{"node", script}
	return t, err
}

// folderName makes a version, which may be any range, the name of a folder.
func folderName(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("/ <>|*", r) {
			return '+'
		}
		return r
	}, s[:min(len(s), 200)])
}

// fetchPackage installs a package manager, and compares it with the hash that corepack wrote down.
func (b *build) fetchPackage(dir string, m manager) error {
	return b.fetchTo(dir, m.pkg, m.program(), m.want, "packageManager or engines in package.json", func(tmp string) error {
		if m.hash == "" {
			return nil
		}
		ok, err := b.hashFits(tmp, m)
		if err != nil || ok {
			return err
		}
		return kit.Errorf("run corepack use "+m.program()+"@"+m.want+", and commit package.json", "the registry's %s %s is not the one that packageManager in package.json names: its hash differs", m.program(), m.want)
	})
}

// fetchTo installs a package of the registry into a folder, which is there only when all is well.
func (b *build) fetchTo(dir, pkg, program, want, from string, checks ...func(tmp string) error) error {
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := b.npmInstall(tmp, pkg+"@"+want); err != nil {
		return b.cannotHave(pkg, program, want, from)
	}
	for _, check := range checks {
		if err := check(tmp); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// hashFits compares the package that is installed below dir with corepack's hash: of the package's archive; of yarn 2 and later, of its only file.
func (b *build) hashFits(dir string, m manager) (bool, error) {
	algorithm, want, _ := strings.Cut(m.hash, ".")
	sum := map[string]func() hash.Hash{"sha1": sha1.New, "sha224": sha256.New224, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New}[algorithm]
	if sum == nil {
		return false, kit.Errorf("run corepack use "+m.program()+"@"+m.want, "packageManager in package.json has a hash of an unknown kind: %s", algorithm)
	}
	fits := func(file string) bool {
		f, err := os.Open(file)
		if err != nil {
			return false
		}
		defer f.Close()
		h := sum()
		_, err = io.Copy(h, f)
		return err == nil && hex.EncodeToString(h.Sum(nil)) == strings.ToLower(want)
	}
	if m.kind == "berry" && fits(filepath.Join(dir, "node_modules", m.pkg, "bin/yarn.js")) {
		return true, nil
	}
	if m.kind == "bun" { // its hash is of the package bun, which fetches this one
		return true, nil
	}
	if _, err := (kit.Cmd{Args: []string{"npm", "pack", "--silent", "--pack-destination", dir, m.pkg + "@" + m.want}, Dir: dir, Env: b.env, Out: io.Discard}).Run(); err != nil {
		return false, err
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	return slices.ContainsFunc(archives, fits), err
}

// binOf is the script of a package's program.
func binOf(root, program string) (string, error) {
	var p struct {
		Bin json.RawMessage `json:"bin"`
	}
	data, err := kit.ReadFile(root, "package.json")
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return "", err
	}
	var bins map[string]string
	if json.Unmarshal(p.Bin, &bins) != nil || bins[program] == "" {
		return "", kit.Errorf("ask for another version in packageManager", "the package %s has no program %s", filepath.Base(root), program)
	}
	// pnpm's file, since version 12, is a script of the shell that hands over to one of Node.js.
	if module := filepath.Join("bin", program+".mjs"); filepath.Ext(bins[program]) == "" && kit.IsFile(root, module) {
		return filepath.Join(root, module), nil
	}
	return filepath.Join(root, bins[program]), nil
}

// npmInstall puts a package of the registry into dir/node_modules.
func (b *build) npmInstall(dir, spec string) error {
	env := b.env.Clone()
	env["npm_config_ignore_scripts"] = "true"
	env["npm_config_legacy_peer_deps"] = "true" // the packages beside it are the app's
	if err := mkdir(dir); err != nil {
		return err
	}
	_, err := kit.Cmd{Args: []string{"npm", "install", "--prefix", dir, "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--global=false", spec},
		Dir: dir, Env: env, Out: b.Out}.Run()
	return err
}

// pnpmAsItIs keeps pnpm from looking for the version that packageManager names, at the registry and for every platform: that one is running.
// Until pnpm 10 the setting has the first name, since pnpm 11 the second.
var pnpmAsItIs = map[string]string{"npm_config_manage_package_manager_versions": "false", "pnpm_config_pm_on_fail": "ignore"}

// setEnv sets what the package managers read from the environment.
func (t tool) setEnv(env kit.Env) {
	switch t.kind {
	case "npm":
		env["npm_config_cache"] = t.store
	case "yarn":
		env["YARN_CACHE_FOLDER"] = t.store
	case "berry":
		env["YARN_GLOBAL_FOLDER"] = t.store
		env["YARN_ENABLE_GLOBAL_CACHE"] = "true"
		env["YARN_NODE_LINKER"] = "node-modules"
		env["YARN_ENABLE_TELEMETRY"] = "0"
		if t.lock == "" { // where CI is set, yarn refuses to make one
			env["YARN_ENABLE_IMMUTABLE_INSTALLS"] = "false"
		}
		env["YARN_ENABLE_PROGRESS_BARS"] = "false"
		if r := env["npm_config_registry"]; r != "" {
			env.Default("YARN_NPM_REGISTRY_SERVER", strings.TrimSuffix(r, "/"))
		}
		if ca := env["NODE_EXTRA_CA_CERTS"]; ca != "" {
			// A setting that this yarn does not know is an error.
			env.Default(kit.Pick(t.major() == "2" || t.major() == "3", "YARN_CA_FILE_PATH", "YARN_HTTPS_CA_FILE_PATH"), ca)
		}
	case "pnpm":
		for _, prefix := range []string{"npm_config_", "pnpm_config_"} { // pnpm 11 and later read the second
			env[prefix+"store_dir"] = t.store
		}
		maps.Copy(env, pnpmAsItIs)
	case "bun":
		env["BUN_INSTALL_CACHE_DIR"] = t.store
		env["DO_NOT_TRACK"] = "1"
		if r := env["npm_config_registry"]; r != "" {
			env.Default("BUN_CONFIG_REGISTRY", r)
		}
	}
}

// install is the command that installs exactly what the lock file says, with or without the packages for development.
func (t tool) install(dev bool) []string {
	var args []string
	switch t.kind {
	case "npm":
		args = []string{"ci"}
		if t.lock == "" {
			args = []string{"install", "--no-package-lock"}
		}
		args = append(args, kit.Pick(dev, "--include=dev", "--omit=dev"), "--no-audit", "--no-fund", "--prefer-offline")
	case "yarn":
		args = []string{"install", "--non-interactive", "--prefer-offline", kit.Pick(dev, "--production=false", "--production=true")}
		if t.lock != "" {
			args = append(args, "--frozen-lockfile")
		}
	case "berry":
		// Without the development packages it is "workspaces focus", which takes the lock file as it is.
		args = []string{"install", "--immutable"}
		if t.lock == "" {
			args = args[:1]
		}
		if !dev && t.focuses {
			args = []string{"workspaces", "focus", "--all", "--production"}
		}
	case "pnpm":
		args = []string{"install", "--prefer-offline", kit.Pick(t.lock != "", "--frozen-lockfile", "--no-frozen-lockfile")}
		if !dev {
			args = append(args, "--prod")
		}
	case "bun":
		args = []string{"install", "--no-progress"}
		if t.lock != "" {
			args = append(args, "--frozen-lockfile")
		}
		if !dev {
			args = append(args, "--production")
		}
	}
	return slices.Concat(t.argv, args)
}

// prune is the command that takes the packages for development away again.
func (t tool) prune() []string {
	switch t.kind {
	case "npm":
		return append(slices.Clone(t.argv), "prune", "--omit=dev", "--no-audit", "--no-fund")
	case "yarn":
		return append(t.install(false), "--ignore-scripts")
	}
	// pnpm's own prune takes the packages of a workspace's members away as well.
	return t.install(false)
}

// run is the command that runs a script of package.json.
func (t tool) run(script string) []string { return append(slices.Clone(t.argv), "run", script) }

// title is how the command reads in a log.
func (t tool) title(args []string) string {
	return t.program() + " " + strings.Join(args[len(t.argv):], " ")
}

package node

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// manager is a package manager and where it comes from.
type manager struct {
	kind string // "npm", "yarn" (1.x), "berry" (yarn 2 and later), "pnpm"
	pkg  string // package of the registry that has it; "" for the npm that is in the builder
	want string // version or range of pkg
	lock string // lock file; "" for none
	path string // a release that the app brings along: .yarn/releases/…

	focuses bool // yarn 2 and later: it can leave the development packages out. 4 can, 2 and 3 by a plugin
}

func (m manager) spec() string { return m.kind + " " + m.pkg + "@" + m.want }

// describe is for people.
func (m manager) describe() string {
	if m.lock == "" {
		return "no lock file"
	}
	return m.program() + " lock file"
}

var (
	managerField = pattern.New(`^(npm|yarn|pnpm)@([0-9][0-9A-Za-z.-]*)(\+.*)?$`)
	pnpmLock     = pattern.New(`(?m)^lockfileVersion: *'?"?([0-9]+)`)
	yarnPath     = pattern.New(`(?m)^yarnPath: *"?([^"\n]+?)"? *$`)
)

// chooseManager finds the package manager by the lock file; packageManager in package.json says which version of it.
func chooseManager(app string, p *Package) (manager, error) {
	m := manager{kind: "npm"}
	switch {
	case kit.Exists(app, "npm-shrinkwrap.json"):
		m.lock = "npm-shrinkwrap.json"
	case kit.Exists(app, "package-lock.json"):
		m.lock = "package-lock.json"
	case kit.Exists(app, "pnpm-lock.yaml"):
		m = manager{kind: "pnpm", pkg: "pnpm", want: "9", lock: "pnpm-lock.yaml"}
		if v := pnpmLock.FindStringSubmatch(kit.Text(app, m.lock)); v != nil {
			switch v[1] {
			case "5":
				m.want = "7"
			case "6":
				m.want = "8"
			}
		}
	case kit.Exists(app, "yarn.lock"):
		m = manager{kind: "yarn", pkg: "yarn", want: "1", lock: "yarn.lock"}
		if strings.Contains(kit.Text(app, m.lock), "\n__metadata:") {
			m = manager{kind: "berry", pkg: "@yarnpkg/cli-dist", want: "4", lock: "yarn.lock"}
		}
	}
	if m.kind == "berry" || m.kind == "yarn" {
		if v := yarnPath.FindStringSubmatch(kit.Text(app, ".yarnrc.yml")); v != nil && kit.IsFile(app, v[1]) {
			m.kind, m.path = "berry", v[1]
		}
	}
	if m.kind == "pnpm" && p.PackageManager == "" {
		// A range: the registry's newest in it.
		if v := p.engine("pnpm"); v != "" {
			m.want = v
		}
	}
	if p.PackageManager == "" {
		return m.withFocus(app), nil
	}
	v := managerField.FindStringSubmatch(p.PackageManager)
	if v == nil {
		return m, kit.Errorf("write it as pnpm@9.15.0", "packageManager in package.json is %q, which is not npm, yarn or pnpm with a version", p.PackageManager)
	}
	name, major := v[1], strings.SplitN(v[2], ".", 2)[0]
	switch {
	case name == "npm" && m.kind == "npm":
		// The builder's npm reads the lock files of all versions.
	case name == "pnpm" && (m.kind == "pnpm" || m.lock == ""):
		m.kind, m.pkg, m.want = "pnpm", "pnpm", v[2]
	case name == "yarn" && (m.kind == "yarn" || m.kind == "berry" || m.lock == ""):
		m.kind, m.pkg, m.want = "yarn", "yarn", v[2]
		if major != "0" && major != "1" {
			m.kind, m.pkg = "berry", "@yarnpkg/cli-dist"
		}
	default:
		return m, kit.Errorf("commit the lock file of one package manager only", "packageManager in package.json is %s, but the app has %s", p.PackageManager, m.lock)
	}
	return m.withFocus(app), nil
}

var yarnRelease = pattern.New(`yarn-(?:berry-)?([0-9]+)\.`)

// withFocus finds out whether this yarn can leave the development packages out.
func (m manager) withFocus(app string) manager {
	if m.kind != "berry" {
		return m
	}
	m.focuses = m.major() != "2" && m.major() != "3" || strings.Contains(kit.Text(app, ".yarnrc.yml"), "workspace-tools")
	return m
}

// major is the first number of the version.
func (m manager) major() string {
	if v := yarnRelease.FindStringSubmatch(m.path); v != nil {
		return v[1]
	}
	major, _, _ := strings.Cut(m.want, ".")
	return major
}

// program is the name of the program that people call.
func (m manager) program() string {
	if m.kind == "berry" {
		return "yarn"
	}
	return m.kind
}

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
	dir := filepath.Join(tools, strings.ReplaceAll(m.pkg, "/", "+")+"@"+m.want)
	script := filepath.Join(dir, "node_modules", m.pkg, managerScripts[m.pkg])
	if !kit.IsFile(script) {
		kit.Say(b.Out, "Fetching %s %s", m.pkg, m.want)
		if err := b.npmInstall(dir, m.pkg+"@"+m.want); err != nil {
			return t, kit.Errorf("check packageManager in package.json", "%s %s could not be fetched from the package registry", m.pkg, m.want)
		}
	}
	t.argv = []string{"node", script}
	return t, nil
}

// npmInstall puts a package of the registry into dir/node_modules.
func (b *build) npmInstall(dir, spec string) error {
	env := b.env.Clone()
	env["npm_config_ignore_scripts"] = "true"
	if err := mkdir(dir); err != nil {
		return err
	}
	_, err := kit.Cmd{Args: []string{"npm", "install", "--prefix", dir, "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--global=false", spec},
		Dir: dir, Env: env, Out: b.Out}.Run()
	return err
}

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
			env.Default(pick(t.major() == "2" || t.major() == "3", "YARN_CA_FILE_PATH", "YARN_HTTPS_CA_FILE_PATH"), ca)
		}
	case "pnpm":
		env["npm_config_store_dir"] = t.store
		env["npm_config_manage_package_manager_versions"] = "false" // the right one is running already
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
		args = append(args, pick(dev, "--include=dev", "--omit=dev"), "--no-audit", "--no-fund", "--prefer-offline")
	case "yarn":
		args = []string{"install", "--non-interactive", "--prefer-offline", pick(dev, "--production=false", "--production=true")}
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
			args = []string{"workspaces", "focus", "--production"}
		}
	case "pnpm":
		args = []string{"install", "--prefer-offline", pick(t.lock != "", "--frozen-lockfile", "--no-frozen-lockfile")}
		if !dev {
			args = append(args, "--prod")
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

func pick(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

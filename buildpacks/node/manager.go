package node

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// manager is a package manager and where it comes from.
type manager struct {
	kind string // "npm", "yarn" (1.x), "berry" (yarn 2 and later), "pnpm", "bun"
	pkg  string // package of the registry that has it; "" for the npm that is in the builder
	want string // version or range of pkg
	hash string // of that version, as corepack writes it: sha512.…; "" for none
	lock string // lock file; "" for none
	path string // a release that the app brings along: .yarn/releases/…

	focuses bool     // yarn 2 and later: it can leave the development packages out. 4 can, 2 and 3 by a plugin
	others  []string // lock files of other package managers, which are not used
}

func (m manager) spec() string { return m.kind + " " + m.pkg + "@" + m.want }

// describe is for people.
func (m manager) describe() string {
	if m.lock == "" && m.kind == "npm" {
		return "no lock file"
	}
	if m.lock == "" {
		return m.program() + ", no lock file"
	}
	return m.program() + " lock file"
}

// locks are the lock files, the one that counts more where there are several first.
var locks = []struct{ file, kind string }{
	{"npm-shrinkwrap.json", "npm"}, {"package-lock.json", "npm"}, {"pnpm-lock.yaml", "pnpm"}, {"yarn.lock", "yarn"}, {"bun.lock", "bun"}, {"bun.lockb", "bun"},
}

// managerPackages are where the package managers come from.
var managerPackages = map[string]string{"npm": "", "yarn": "yarn", "berry": "@yarnpkg/cli-dist", "pnpm": "pnpm", "bun": bunPackage()}

// latest are the versions that are taken where nothing says which.
var latest = map[string]string{"npm": "", "yarn": "1", "berry": "4", "pnpm": "9", "bun": "1"}

var (
	managerField = pattern.New(`^(npm|yarn|pnpm|bun)(?:@([^+]*)(?:\+(.+))?)?$`)
	pnpmLock     = pattern.New(`(?m)^lockfileVersion: *'?"?([0-9]+)`)
	// pnpm 10 and later keep their settings in the file that lists the members. Earlier ones do not read them, and refuse a file without members.
	pnpmSettings = pattern.New(`(?m)^(?:allowBuilds|onlyBuiltDependencies|ignoredBuiltDependencies|neverBuiltDependencies|dangerouslyAllowAllBuilds|overrides|packageExtensions|patchedDependencies|nodeLinker|shamefullyHoist|publicHoistPattern|hoistPattern|autoInstallPeers|strictPeerDependencies|linkWorkspacePackages|injectWorkspacePackages|minimumReleaseAge|savePrefix|supportedArchitectures|catalogMode|blockExoticSubdeps|trustPolicy|verifyDepsBeforeRun):`)
	berryLock    = pattern.New(`(?m)^__metadata:\s+version: *"?([0-9]+)`)
	yarnPath     = pattern.New(`(?m)^yarnPath: *"?([^"\n]+?)"? *$`)
	yarnRelease  = pattern.New(`yarn-(?:berry-)?([0-9]+(?:\.[0-9]+)*)`)
)

// chooseManager finds the package manager: by packageManager in package.json, as corepack does, else by the lock file.
func chooseManager(app string, p *Package) (manager, error) {
	name, version, hash, err := p.askedManager()
	if err != nil {
		return manager{}, err
	}
	m := byLock(app, name)
	if m.kind == "" {
		m.kind = name
		switch {
		case name != "":
		case kit.IsFile(app, "pnpm-workspace.yaml"):
			m.kind = "pnpm"
		case kit.IsFile(app, ".yarnrc.yml"):
			m.kind = "berry"
		case p.callsBun():
			m.kind = "bun"
		default:
			m.kind = "npm"
		}
	}
	if m.kind != name {
		name, version, hash = "", "", ""
	}
	m.want = m.defaultVersion(app)
	switch {
	case version != "":
		m.want, m.hash = version, hash
	case name == "":
		for _, v := range []string{p.Volta.version(m.program()), p.engine(m.program())} {
			if v != "" {
				if !allows(v, m.want) {
					m.want = v
				}
				break
			}
		}
	}
	return m.settle(app, version != ""), nil
}

// settle makes yarn the one of its two programs that is meant, and finds out where it comes from.
func (m manager) settle(app string, asked bool) manager {
	if m.kind == "yarn" {
		lock := berryLock.FindStringSubmatch(kit.Text(app, m.lock))
		if asked && !oldYarn(m.want) || lock != nil && !(asked && oldYarn(m.want)) {
			m.kind = "berry"
			if !asked && oldYarn(m.want) { // engines, which say what is allowed
				m.want = m.defaultVersion(app)
			}
		}
		if v := yarnPath.FindStringSubmatch(kit.Text(app, ".yarnrc.yml")); v != nil {
			m.kind = "berry"
			release := yarnRelease.FindStringSubmatch(v[1])
			if kit.IsFile(app, v[1]) {
				m.path = v[1]
			}
			if release != nil { // the release may not be committed
				m.want, m.hash = release[1], ""
			}
		}
		if m.kind == "yarn" && !oldYarn(m.want) {
			m.want = latest["yarn"]
		}
	}
	m.pkg = managerPackages[m.kind]
	if m.kind == "npm" {
		m.want, m.hash = "", ""
	}
	if m.kind == "berry" {
		m.focuses = m.major() != "2" && m.major() != "3" || strings.Contains(kit.Text(app, ".yarnrc.yml"), "workspace-tools")
	}
	return m
}

// allows tells whether engines, which say what an app can do with, have room for the usual version: a range that is open upwards asks for no newer one.
func allows(engines, usual string) bool {
	c, err := semver.NewConstraint(engines)
	if err != nil {
		return false
	}
	v, err := semver.NewVersion(usual + ".999.999") // usual is a major version
	return err == nil && c.Check(v)
}

// oldYarn tells whether a version is of the first yarn.
func oldYarn(version string) bool {
	v := strings.TrimLeft(version, "^~>=v ")
	return strings.HasPrefix(v, "1.") || v == "1" || strings.HasPrefix(v, "0.")
}

// byLock is the package manager whose lock file is there: the one that is asked for, else the first. Without any its kind is "". npm is asked for by
// tools that write it down unasked, so that another's lock file counts more.
func byLock(app, asked string) (m manager) {
	for _, strict := range []bool{true, false} {
		for _, l := range locks {
			wanted := asked == "" || l.kind == asked || !strict && asked == "npm"
			if m.lock == "" && wanted && kit.Exists(app, l.file) {
				m.kind, m.lock = l.kind, l.file
			}
		}
	}
	for _, l := range locks {
		if l.kind != m.kind && kit.Exists(app, l.file) {
			m.others = append(m.others, l.file)
		}
	}
	return m
}

// defaultVersion is the version that wrote the lock file, else the usual one.
func (m manager) defaultVersion(app string) string {
	text := ""
	if m.lock != "" {
		text = kit.Text(app, m.lock)
	}
	switch m.kind {
	case "pnpm":
		if v := pnpmLock.FindStringSubmatch(text); v != nil {
			switch v[1] {
			case "5":
				return "7"
			case "6":
				return "8"
			}
		}
		if pnpmSettings.MatchString(kit.Text(app, "pnpm-workspace.yaml")) {
			return "10"
		}
	case "yarn", "berry":
		if v := berryLock.FindStringSubmatch(text); v != nil {
			switch v[1] {
			case "1", "2", "3", "4":
				return "2"
			case "5", "6":
				return "3"
			}
			return "4"
		}
	case "bun":
		for _, v := range append(kit.VersionLines(app, ".bun-version"), kit.AsdfVersions(app, ".tool-versions", "bun")...) {
			return strings.TrimPrefix(v, "v")
		}
	}
	return latest[m.kind]
}

// askedManager is what packageManager says, else devEngines.
func (p *Package) askedManager() (name, version, hash string, err error) {
	if p.PackageManager == "" {
		e := p.devEngine("packageManager", "npm", "yarn", "pnpm", "bun")
		return e.Name, e.Version, "", nil
	}
	v := managerField.FindStringSubmatch(strings.TrimSpace(p.PackageManager))
	if v == nil || strings.Contains(v[2], "/") {
		return "", "", "", kit.Errorf("write it as pnpm@9.15.0", "packageManager in package.json is %q, which is not npm, yarn, pnpm or bun with a version", p.PackageManager)
	}
	if v[2] == "latest" || v[2] == "stable" {
		v[2] = ""
	}
	return v[1], strings.TrimPrefix(v[2], "v"), v[3], nil
}

// devEngine is one entry of devEngines.
type devEngine struct{ Name, Version string }

// devEngine is the first of the named ones that devEngines lists in a field: an object, or a list of them.
func (p *Package) devEngine(field string, names ...string) devEngine {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(p.DevEngines, &fields) // npm complains of a malformed one
	var list []devEngine
	if json.Unmarshal(fields[field], &list) != nil {
		list = make([]devEngine, 1)
		_ = json.Unmarshal(fields[field], &list[0])
	}
	for _, e := range list {
		if slices.Contains(names, e.Name) {
			return e
		}
	}
	return devEngine{}
}

// major is the first number of the version.
func (m manager) major() string {
	want := strings.TrimLeft(m.want, "^~>=v ")
	major, _, _ := strings.Cut(want, ".")
	return major
}

// program is the name of the program that people call.
func (m manager) program() string {
	if m.kind == "berry" {
		return "yarn"
	}
	return m.kind
}

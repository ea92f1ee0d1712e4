package rust

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// manifest is what detection reads of a Cargo.toml, without cargo.
type manifest struct {
	Package *struct {
		Name        string `toml:"name"`
		RustVersion any    `toml:"rust-version"` // a string, or a table that says workspace = true
		AutoBins    *bool  `toml:"autobins"`
	} `toml:"package"`
	Bin       []struct{ Name string } `toml:"bin"`
	Workspace *struct {
		Members any `toml:"members"`
		Package struct {
			RustVersion string `toml:"rust-version"`
		} `toml:"package"`
	} `toml:"workspace"`
	Profile map[string]map[string]any `toml:"profile"`
}

// readManifest reads the Cargo.toml of a folder. fs.ErrNotExist is returned for none, an *kit.Error for one that cannot be read.
func readManifest(app string, folder ...string) (manifest, error) {
	var m manifest
	name := path.Join(append(folder, "Cargo.toml")...)
	if !kit.Exists(app, name) {
		return m, fs.ErrNotExist
	}
	if _, err := kit.ReadFile(app, name); err != nil {
		return m, err
	}
	if err := toml.Unmarshal([]byte(kit.Text(app, name)), &m); err != nil {
		return m, kit.Errorf("correct it: cargo check says the same", "%s cannot be read: %s", name, kit.First(err.Error()))
	}
	return m, nil
}

// hasProgram tells whether the package of a folder has a program by what its manifest says or where cargo looks for one.
func (m manifest) hasProgram(app, folder string) bool {
	if m.Package == nil {
		return false
	}
	if len(m.Bin) > 0 {
		return true
	}
	if m.Package.AutoBins != nil && !*m.Package.AutoBins {
		return false
	}
	if kit.IsFile(app, folder, "src/main.rs") {
		return true
	}
	for _, pattern := range []string{"src/bin/*.rs", "src/bin/*/main.rs"} {
		if found, _ := filepath.Glob(filepath.Join(app, folder, pattern)); len(found) > 0 { // constant patterns: cannot fail
			return true
		}
	}
	return false
}

// maxMembers bounds the members of a workspace that detection looks at.
const maxMembers = 200

// members lists the folders of the workspace's members, as deep as cargo's patterns go.
func (m manifest) members(app string) (folders []string) {
	if m.Workspace == nil {
		return nil
	}
	list, _ := m.Workspace.Members.([]any)
	for _, e := range list {
		pattern, _ := e.(string)
		if pattern = path.Clean(pattern); !filepath.IsLocal(pattern) {
			continue
		}
		found, err := filepath.Glob(filepath.Join(app, pattern, "Cargo.toml"))
		if err != nil {
			continue // cargo says what is wrong with the pattern
		}
		for _, f := range found {
			if rel, err := filepath.Rel(app, filepath.Dir(f)); err == nil && !slices.Contains(folders, rel) && len(folders) < maxMembers {
				folders = append(folders, filepath.ToSlash(rel))
			}
		}
	}
	return folders
}

// found is what detection knows of an app.
type found struct {
	manifest
	program string // "" without one, else the folder of a package that has one
	minimum string // the newest rust-version of the app's own packages; "" for none
}

// look reads the app's manifests.
func look(app string) (found, error) {
	root, err := readManifest(app)
	f := found{manifest: root}
	if err != nil {
		return f, err
	}
	note := func(m manifest, folder string) {
		if f.program == "" && m.hasProgram(app, folder) {
			f.program = folder
		}
		if m.Package != nil {
			if v, ok := m.Package.RustVersion.(string); ok {
				f.minimum = newer(f.minimum, v)
			}
		}
	}
	note(root, ".")
	if root.Workspace != nil {
		f.minimum = newer(f.minimum, root.Workspace.Package.RustVersion)
	}
	for _, folder := range root.members(app) {
		m, err := readManifest(app, folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return f, err
		}
		note(m, folder)
	}
	return f, nil
}

// Check returns an *kit.Error when the app has a Cargo.toml that cannot be read.
func Check(app string) error {
	if _, err := look(app); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Takes tells whether the app has a program in Rust.
func Takes(app string) bool {
	f, err := look(app)
	return err == nil && f.program != ""
}

// profileHas tells whether the release profile of the manifest says something of a key.
func (m manifest) profileHas(keys ...string) bool {
	for _, k := range keys {
		if _, ok := m.Profile["release"][k]; ok {
			return true
		}
	}
	return false
}

// libraryOf says which other language a package without a program is most likely a part of.
func libraryOf(app string) string {
	switch {
	case strings.Contains(kit.Text(app, "pyproject.toml"), "maturin"), strings.Contains(kit.Text(app, "pyproject.toml"), "setuptools-rust"):
		return "Python"
	case kit.Exists(app, "package.json"):
		return "Node.js"
	}
	return ""
}

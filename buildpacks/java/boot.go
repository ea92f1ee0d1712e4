package java

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// startBoot starts an app of Spring Boot.
func (b *build) startBoot(j *jar, rel string) (*libcnb.Process, error) {
	if err := b.divide(j); err != nil {
		return nil, err
	}
	return b.javaProcess("-jar", quote(rel)), b.clear(rel)
}

// divide makes a jar with the app's classes alone of one of Spring Boot, and layers of the libraries in it: those that change with the app's versions of
// them, and those that may change with each build. Java reads jars side by side faster than jars in a jar, too.
func (b *build) divide(j *jar) error {
	z, err := zip.OpenReader(j.path)
	if err != nil {
		return err
	}
	defer z.Close()
	members := map[string]*zip.File{}
	var libs []string
	for _, f := range z.File {
		members[f.Name] = f
		if strings.HasPrefix(f.Name, "BOOT-INF/lib/") && strings.HasSuffix(f.Name, ".jar") {
			libs = append(libs, f.Name)
		}
	}
	order := inOrder(libs, readMember(members["BOOT-INF/classpath.idx"]))
	own := ownLibraries(readMember(members["BOOT-INF/layers.idx"]))
	var stable, moving []*zip.File
	for _, name := range order {
		if own[name] || strings.Contains(name, "-SNAPSHOT") {
			moving = append(moving, members[name])
		} else {
			stable = append(stable, members[name])
		}
	}
	places := map[string]string{}
	for name, files := range map[string][]*zip.File{"dependencies": stable, "snapshots": moving} {
		if err := b.libraryLayer(name, files, places); err != nil {
			return err
		}
	}
	var classPath []string
	for _, name := range order {
		classPath = append(classPath, "file:"+places[name])
	}
	b.divided = true
	return settle(j.path, j.path, thinName, thinManifest(j.manifest, classPath))
}

// thinName is where a member of a jar of Spring Boot goes in a plain jar.
func thinName(name string) string {
	if rest, ok := strings.CutPrefix(name, "BOOT-INF/classes/"); ok {
		return rest
	}
	if name == manifestName || strings.HasPrefix(name, "META-INF/maven/") || strings.HasPrefix(name, "META-INF/sbom/") {
		return name
	}
	return ""
}

// thinManifest says what the main class is and where its libraries are.
func thinManifest(old map[string]string, classPath []string) string {
	var b strings.Builder
	attribute := func(k, v string) {
		line := k + ": " + v
		for n := 72; len(line) > n; n = 71 { // a line has 72 bytes; the next begins with a space
			b.WriteString(line[:n] + "\r\n ")
			line = line[n:]
		}
		b.WriteString(line + "\r\n")
	}
	attribute("Manifest-Version", "1.0")
	attribute("Main-Class", old["Start-Class"])
	if len(classPath) > 0 {
		attribute("Class-Path", strings.Join(classPath, " "))
	}
	for _, k := range slices.Sorted(mapKeys(old)) {
		if !slices.Contains([]string{"Manifest-Version", "Main-Class", "Class-Path", "Start-Class"}, k) && !strings.HasPrefix(k, "Spring-Boot-") || k == "Spring-Boot-Version" {
			attribute(k, old[k])
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// maxIndex bounds the indexes in a jar of Spring Boot.
const maxIndex = 4 << 20

func readMember(f *zip.File) string {
	if f == nil {
		return ""
	}
	in, err := f.Open()
	if err != nil {
		return ""
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxIndex))
	if err != nil {
		return ""
	}
	return string(data)
}

// inOrder sorts the libraries as classpath.idx lists them: - "BOOT-INF/lib/a.jar". Those that it does not list come last.
func inOrder(libs []string, index string) []string {
	place := map[string]int{}
	for line := range strings.Lines(index) {
		name := strings.Trim(strings.TrimPrefix(strings.TrimSpace(line), "- "), `"`)
		if !strings.Contains(name, "/") {
			name = "BOOT-INF/lib/" + name
		}
		if _, ok := place[name]; !ok {
			place[name] = len(place)
		}
	}
	libs = slices.Clone(libs)
	slices.SortStableFunc(libs, func(a, b string) int {
		x, ok := place[a]
		if !ok {
			x = len(place)
		}
		y, ok := place[b]
		if !ok {
			y = len(place)
		}
		return x - y
	})
	return libs
}

// ownLibraries are those that layers.idx has in a layer with the app: the other modules of its build.
func ownLibraries(index string) map[string]bool {
	own, layer := map[string]bool{}, ""
	for line := range strings.Lines(index) {
		text := strings.TrimRight(line, "\r\n")
		name := strings.Trim(strings.TrimPrefix(strings.TrimSpace(text), "- "), `":`)
		if strings.HasPrefix(text, "- ") {
			layer = name
			continue
		}
		if layer == "application" || layer == "snapshot-dependencies" {
			own[name] = true
		}
	}
	return own
}

// libraryLayer makes a layer of libraries, or takes over that of the last build where they are the same. places notes where each is.
func (b *build) libraryLayer(name string, files []*zip.File, places map[string]string) error {
	layer, err := kit.OpenLayer(b.ctx, name)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return nil
	}
	parts := []string{"1"}
	for _, f := range files {
		places[f.Name] = filepath.Join(layer.Path, path.Base(f.Name))
		sum, err := digestOf(f)
		if err != nil {
			return err
		}
		parts = append(parts, f.Name, sum)
	}
	b.layers = append(b.layers, layer)
	key := kit.Key(parts...)
	if reused, err := layer.Renew(key); err != nil || reused {
		return err
	}
	left := int64(maxUnpacked)
	var packages []kit.Package
	for _, f := range files {
		in, err := f.Open()
		if err != nil {
			return err
		}
		n, err := write(places[f.Name], in, left, 0)
		if err := errors.Join(err, in.Close()); err != nil {
			return err
		}
		left -= n
		packages = append(packages, packageOf(places[f.Name]))
	}
	return kit.WriteSBOM(layer.Layer, packages)
}

func digestOf(f *zip.File) (string, error) {
	in, err := f.Open()
	if err != nil {
		return "", err
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// packageOf names the package of a library: as it says itself, else by its file's name.
func packageOf(file string) kit.Package {
	name := strings.TrimSuffix(filepath.Base(file), ".jar")
	version := ""
	if i := strings.LastIndex(name, "-"); i > 0 && i+1 < len(name) && name[i+1] >= '0' && name[i+1] <= '9' {
		name, version = name[:i], name[i+1:]
	}
	p := kit.Package{Name: name, Version: version, PURL: "pkg:maven/" + name}
	z, err := zip.OpenReader(file)
	if err != nil {
		return p
	}
	defer z.Close()
	for _, f := range z.File {
		if ok, _ := path.Match("META-INF/maven/*/*/pom.properties", f.Name); ok {
			m := properties(readMember(f))
			if m["artifactId"] == name || p.Name == name && m["groupId"] != "" {
				return kit.Package{Name: m["artifactId"], Version: m["version"], PURL: fmt.Sprintf("pkg:maven/%s/%s", m["groupId"], m["artifactId"])}
			}
		}
	}
	return p
}

// startBootWar starts a war that Spring Boot runs by itself, unpacked.
func (b *build) startBootWar(j *jar, rel string) (*libcnb.Process, error) {
	dir, err := b.unpack(j, rel)
	if err != nil {
		return nil, err
	}
	b.slices = append(b.slices, libcnb.Slice{Paths: []string{filepath.Join(dir, "WEB-INF/lib/**"), filepath.Join(dir, "WEB-INF/lib-provided/**"), filepath.Join(dir, "org/springframework/boot/loader/**")}})
	return b.javaProcess("-cp", quote(dir), quote(j.manifest["Main-Class"])), b.clear(dir)
}

// unpack unpacks a jar or war beside it and returns the folder, relative to the app.
func (b *build) unpack(j *jar, rel string) (string, error) {
	dir := filepath.Join(filepath.Dir(rel), "unpacked")
	if err := os.RemoveAll(filepath.Join(b.app, dir)); err != nil {
		return "", err
	}
	return dir, unzip(j.path, filepath.Join(b.app, dir), 0)
}

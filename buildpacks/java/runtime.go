package java

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Runtime is where Java comes from.
type Runtime interface {
	// JDK returns the home of the JDK that builds the app.
	JDK(b *build) (home string, err error)
	// JRE returns the layer with what runs it.
	JRE(b *build) (*kit.Layer, error)
}

// packaged takes Java from Debian, and what Debian lacks from the builds of Temurin.
type packaged struct{}

// suites are the releases of Debian by the version of Java that they carry. Debian's unstable release has those that no other has, for some time.
var suites = map[int]string{8: unstable, 11: "bullseye", 17: "bookworm", 21: "trixie", 25: "trixie", 26: unstable, 27: unstable}

const unstable = "sid"

// runtimeLayout is raised when the same packages make another layer than before.
const runtimeLayout = "1"

// JDK implements Runtime.
func (packaged) JDK(b *build) (string, error) {
	suite, ok := suites[b.java]
	if !ok {
		return b.temurin("jdk")
	}
	tool, err := debs.Open(b.cache, b.env, b.Out)
	if err != nil {
		return "", err
	}
	set, err := tool.Resolve(debs.Request{Packages: []string{fmt.Sprintf("openjdk-%d-jdk-headless", b.java)}, Suite: suite})
	if err != nil && suite == unstable {
		home, terr := b.temurin("jdk")
		if terr == nil {
			b.fromTemurin = true
			return home, nil
		}
		return "", kit.Errorf("ask for Java "+known(), "Java %d, which only Debian's unstable release has, cannot be had from there, and %s does not answer", b.java, host(b.Places.Temurin))
	}
	if err != nil {
		return "", err
	}
	b.forgetJDKs(set.Key())
	dir, err := b.toolDir("jdk-"+set.Key()[:16], func(dir string) error { return b.installJDK(tool, set, dir) })
	if err != nil {
		return "", err
	}
	debs.Environment(dir).AddTo(b.env)
	return javaHome(dir)
}

// installJDK unpacks a JDK, and gives it the certificate authorities, which Debian's own script would.
func (b *build) installJDK(tool *debs.Tool, set *debs.Set, dir string) error {
	if err := tool.Install(set, dir); err != nil {
		return err
	}
	home, err := javaHome(dir)
	if err != nil {
		return err
	}
	for _, d := range []string{"usr/share/doc", "usr/share/man", "usr/share/lintian"} {
		if err := os.RemoveAll(filepath.Join(dir, d)); err != nil {
			return err
		}
	}
	if err := b.authorities(home); err != nil {
		return err
	}
	return b.shareClasses(home, dir)
}

// forgetJDKs removes those that no build of this app needs any more.
func (b *build) forgetJDKs(key string) {
	tools, err := b.cache.Dir("java-tools")
	if err != nil {
		return
	}
	old, _ := filepath.Glob(filepath.Join(tools, "jdk-*")) // constant pattern: cannot fail
	for _, dir := range old {
		if filepath.Base(dir) != "jdk-"+key[:16] {
			_ = os.RemoveAll(dir) // tried again by the next build
		}
	}
}

// javaHome finds the home of Java in a folder with Debian's packages.
func javaHome(dir string) (string, error) {
	found, _ := filepath.Glob(filepath.Join(dir, "usr/lib/jvm/java-*-openjdk-*/bin/java")) // constant pattern
	if len(found) == 0 {
		return "", kit.Errorf("the Debian mirror may be broken", "the packages of Java have no program java")
	}
	return filepath.Dir(filepath.Dir(found[0])), nil
}

// JRE implements Runtime.
func (packaged) JRE(b *build) (*kit.Layer, error) {
	layer, err := kit.OpenLayer(b.ctx, "jre")
	if err != nil {
		return nil, err
	}
	bundle, err := kit.FileKey(systemBundle)
	if err != nil {
		return nil, err
	}
	suite, ok := suites[b.java]
	if !ok || b.fromTemurin {
		return layer, b.temurinLayer(layer, bundle)
	}
	tool, err := debs.Open(b.cache, b.env, b.Out)
	if err != nil {
		return nil, err
	}
	r := debs.Request{Packages: []string{fmt.Sprintf("openjdk-%d-jre-headless", b.java)}, Suite: suite, Launch: true}
	set, reused, err := tool.Layer(layer, libcnb.LayerTypes{Launch: true}, r, runtimeLayout, bundle)
	if err != nil || reused {
		return layer, err
	}
	for _, d := range []string{"usr/share/doc", "usr/share/man", "usr/share/lintian", "usr/share/ca-certificates-java"} {
		if err := os.RemoveAll(filepath.Join(layer.Path, d)); err != nil {
			return nil, err
		}
	}
	home, err := javaHome(layer.Path)
	if err != nil {
		return nil, err
	}
	if err := kit.WriteSBOM(layer.Layer, set.SBOM()); err != nil {
		return nil, err
	}
	return layer, b.finish(layer, home)
}

// finish gives a layer with a JRE what its package's scripts would have made, and its environment.
func (b *build) finish(layer *kit.Layer, home string) error {
	if err := b.authorities(home); err != nil {
		return err
	}
	if err := b.shareClasses(home, layer.Path); err != nil {
		return err
	}
	layer.LaunchEnvironment.Default("JAVA_HOME", home)
	layer.LaunchEnvironment.Prepend("PATH", ":", filepath.Join(home, "bin"))
	layer.LaunchEnvironment.Default("JAVA_TOOL_OPTIONS", memoryOptions)
	return nil
}

// memoryOptions fit Java into the memory of an instance: it takes a quarter for the heap by itself. What the heap leaves is for classes, compiled code
// and threads. An instance that has no memory left ends and is started again: a thread that died of it would leave a program that half works.
const memoryOptions = "-XX:MaxRAMPercentage=65 -XX:+ExitOnOutOfMemoryError"

// authorities writes the keystore of a Java, of the image's certificates.
func (b *build) authorities(home string) error {
	data, err := kit.ReadFile(systemBundle)
	if err != nil {
		return err
	}
	dir := filepath.Join(home, "lib", "security")
	if kit.IsDir(home, "jre") {
		dir = filepath.Join(home, "jre", "lib", "security") // a JDK of Java 8
	}
	file := filepath.Join(dir, "cacerts")
	if err := os.RemoveAll(file); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, keystore(data), 0o644)
}

// shareClasses makes the archive of Java's own classes, which halves the time that it needs to start.
func (b *build) shareClasses(home, root string) error {
	if b.java < 11 || kit.IsFile(home, "lib/server/classes.jsa") {
		return nil
	}
	env := b.env.Clone()
	delete(env, "JAVA_TOOL_OPTIONS")
	debs.Environment(root).AddTo(env)
	var said strings.Builder
	if _, err := (kit.Cmd{Args: []string{filepath.Join(home, "bin", "java"), "-Xshare:dump"}, Env: env, Out: &said}).Run(); err != nil {
		kit.Say(b.Out, "Warning: Java's own classes are not shared, so it starts slower: %s", kit.First(said.String()))
	}
	return nil
}

// temurinVersions is how the API calls this machine.
func temurinMachine() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64"
	}
	return "x64"
}

// build of Temurin's, as its API describes it.
type release struct {
	Name   string `json:"release_name"`
	Binary struct {
		Package struct {
			Link     string `json:"link"`
			Checksum string `json:"checksum"`
		} `json:"package"`
	} `json:"binary"`
}

// temurinRelease asks for the newest release of the app's Java. kind is jdk or jre.
func (b *build) temurinRelease(kind string) (release, error) {
	address := fmt.Sprintf("%s/v3/assets/latest/%d/hotspot?architecture=%s&image_type=%s&os=linux&vendor=eclipse", b.Places.Temurin, b.java, temurinMachine(), kind)
	text, err := b.text(address)
	var u *unreachable
	if errors.As(err, &u) && !u.notFound {
		return release{}, kit.Errorf("ask for Java "+known()+", which come from Debian", "Java %d is not in Debian, and %s, which has it, cannot be reached: %s", b.java, host(b.Places.Temurin), u.reason)
	}
	var list []release
	if err == nil {
		err = json.Unmarshal([]byte(text), &list)
	}
	if err != nil || len(list) == 0 || len(list[0].Binary.Package.Checksum) != 64 {
		return release{}, kit.Errorf("ask for Java "+known(), "there is no Java %d for this machine, neither in Debian nor at %s", b.java, host(b.Places.Temurin))
	}
	return list[0], nil
}

// known lists the versions that Debian's released versions have.
func known() string {
	var list []int
	for v, suite := range suites {
		if suite != unstable {
			list = append(list, v)
		}
	}
	slices.Sort(list)
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ", "), "[]")
	i := strings.LastIndex(text, ", ")
	return text[:i] + " or " + text[i+2:]
}

// temurin returns the home of a JDK that is not from Debian.
func (b *build) temurin(kind string) (string, error) {
	r, err := b.temurinRelease(kind)
	if err != nil {
		return "", err
	}
	return b.fetchTool("temurin-"+kind+"-"+safe.ReplaceAllString(r.Name, "_"), r.Binary.Package.Link, r.Binary.Package.Checksum)
}

func (b *build) temurinLayer(layer *kit.Layer, bundle string) error {
	r, err := b.temurinRelease("jre")
	if err != nil {
		return err
	}
	key := kit.Key(runtimeLayout, r.Binary.Package.Checksum, bundle)
	if reused, err := layer.Reuse(key); err != nil || reused {
		return err
	}
	home, err := b.temurin("jre")
	if err != nil {
		return err
	}
	if err := layer.Reset(libcnb.LayerTypes{Launch: true}, key); err != nil {
		return err
	}
	if err := kit.CopyTree(home, layer.Path, func(rel string) bool { return rel == ".complete" || rel == "man" }); err != nil {
		return err
	}
	if err := kit.WriteSBOM(layer.Layer, []kit.Package{{Name: "temurin-jre", Version: r.Name, PURL: "pkg:generic/temurin-jre"}}); err != nil {
		return err
	}
	return b.finish(layer, layer.Path)
}

package java

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// machine is the Java of the machine that the tests run on.
type machine struct{ home string }

func (m machine) JDK(*build) (string, error) { return m.home, nil }

func (m machine) JRE(b *build) (*kit.Layer, error) {
	layer, err := kit.OpenLayer(b.ctx, "jre")
	if err != nil {
		return nil, err
	}
	if reused, err := layer.Reuse("machine"); err != nil || reused {
		return layer, err
	}
	return layer, layer.Reset(libcnb.LayerTypes{Launch: true}, "machine")
}

// tools returns the buildpack with the machine's Java.
func tools(t *testing.T) (Buildpack, *bytes.Buffer) {
	t.Helper()
	javac, err := exec.LookPath("javac")
	if err != nil {
		t.Fatal("javac is missing: install a JDK, such as openjdk-17-jdk-headless")
	}
	if javac, err = filepath.EvalSymlinks(javac); err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	b := New(out)
	b.Runtime = machine{filepath.Dir(filepath.Dir(javac))}
	return b, out
}

// webApp is a server that says a text, and what it finds of a resource and a library.
const webApp = `package shop;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
public class Main {
  static String text() { return "hello v1"; }
  public static void main(String[] args) throws Exception {
    HttpServer s = HttpServer.create(new InetSocketAddress(Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"))), 0);
    s.createContext("/", e -> { byte[] b = text().getBytes(); e.sendResponseHeaders(200, b.length); e.getResponseBody().write(b); e.close(); });
    s.start();
  }
}
`

// javaProject compiles sources and returns the folder with the classes.
func compileClasses(t *testing.T, home string, sources map[string]string) string {
	t.Helper()
	dir, classes := t.TempDir(), t.TempDir()
	args := []string{"--release", "11", "-d", classes}
	for name, text := range sources {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	if out, err := exec.Command(filepath.Join(home, "bin/javac"), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return classes
}

// zipOf makes a jar of texts and of the files of folders, by the prefix that they get.
func zipOf(t *testing.T, texts map[string]string, folders map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	add := func(name string, data []byte) {
		m, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = m.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for prefix, dir := range folders {
		if err := os.CopyFS(filepath.Join(t.TempDir(), "x"), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*/*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(dir, f)
			add(prefix+rel, data)
		}
	}
	for _, name := range slices.Sorted(mapKeys(texts)) {
		add(name, []byte(texts[name]))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// answer starts the web process as it was built and returns what it says.
func answer(t *testing.T, r *bptest.Run, home string, web libcnb.Process) string {
	t.Helper()
	cmd := exec.Command(web.Command, web.Arguments...)
	cmd.Env = append(os.Environ(), "PATH="+home+"/bin:"+os.Getenv("PATH"))
	return bptest.Serve(t, r, cmd, freePort(t))("/")
}

// TestBoot: the libraries of a jar of Spring Boot are layers of their own, which a change of the app's classes leaves alone, and it starts as before.
func TestBoot(t *testing.T) {
	b, out := tools(t)
	home := b.Runtime.(machine).home
	lib := func(v string) string {
		return zipOf(t, map[string]string{"lib/version.txt": v}, nil)
	}
	jar := func(say string, libs map[string]string) string {
		source := strings.Replace(webApp, `"hello v1"`, `new String(Main.class.getResourceAsStream("/lib/version.txt").readAllBytes()) + "`+say+`"`, 1)
		source = strings.Replace(source, "static String text() {", "static String text() { try {", 1)
		source = strings.Replace(source, `"; }`, `"; } catch (Exception e) { return "" + e; } }`, 1)
		texts := map[string]string{"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\r\nMain-Class: org.springframework.boot.loader.launch.JarLauncher\r\nStart-Class: shop.Main\r\n\r\n",
			"META-INF/services/java.nio.file.spi.FileSystemProvider": "org.springframework.boot.loader.nio.file.NestedFileSystemProvider\n", "org/springframework/boot/loader/x.txt": ""}
		index := ""
		for name, text := range libs {
			texts["BOOT-INF/lib/"+name] = text
		}
		for _, name := range slices.Sorted(mapKeys(libs)) {
			index += "- \"BOOT-INF/lib/" + name + "\"\n"
		}
		texts["BOOT-INF/classpath.idx"] = index
		return zipOf(t, texts, map[string]string{"BOOT-INF/classes/": compileClasses(t, home, map[string]string{"Main.java": source})})
	}
	r := bptest.New(t, catalog.Java)
	libs := map[string]string{"lib-1.0.jar": lib("one"), "own-1-SNAPSHOT.jar": zipOf(t, map[string]string{"a": "a"}, nil)}
	built, err := r.Build(b, map[string]string{"shop.jar": jar(" v1", libs)})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := answer(t, r, home, built.Processes["web"]); got != "one v1" {
		t.Errorf("the app says %q", got)
	}
	for _, f := range []string{"dependencies/lib-1.0.jar", "snapshots/own-1-SNAPSHOT.jar", "dependencies.sbom.cdx.json"} {
		if !kit.IsFile(r.Layers, f) {
			t.Errorf("there is no %s", f)
		}
	}
	first, err := kit.FileKey(filepath.Join(r.App, "shop.jar"))
	if err != nil {
		t.Fatal(err)
	}
	libs["own-1-SNAPSHOT.jar"] = zipOf(t, map[string]string{"a": "b"}, nil)
	if _, err := r.Build(b, map[string]string{"shop.jar": jar(" v2", libs)}); err != nil {
		t.Fatal(err)
	}
	if !r.Reused("dependencies") || r.Reused("snapshots") {
		t.Error("a change of the app's classes and of a snapshot should leave the layer of libraries alone, and no other")
	}
	if second, err := kit.FileKey(filepath.Join(r.App, "shop.jar")); err != nil || second == first {
		t.Errorf("the app's classes have not changed: %v", err)
	}
}

// TestMaven: a project with a library, but without a plugin that puts them together, is built and answers; the second build changes nothing; what
// fails is said.
func TestMaven(t *testing.T) {
	b, out := tools(t)
	r := bptest.New(t, catalog.Java)
	project := func(more string) map[string]string {
		return map[string]string{"pom.xml": pomOf("<properties><maven.compiler.release>11</maven.compiler.release><project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties><dependencies>" +
			"<dependency><groupId>commons-codec</groupId><artifactId>commons-codec</artifactId><version>1.17.1</version></dependency></dependencies>" + more),
			"src/main/java/shop/Main.java":               strings.Replace(webApp, `"hello v1"`, `org.apache.commons.codec.digest.DigestUtils.md5Hex("hello")`, 1),
			".mvn/wrapper/maven-wrapper.properties":      "distributionUrl=https://" + mavenCentral + "/org/apache/maven/apache-maven/3.9.9/apache-maven-3.9.9-bin.zip\n",
			"src/test/java/shop/FailsToCompileTest.java": "not Java, and tests are not compiled",
		}
	}
	r.Env["BP_MAVEN_ADDITIONAL_BUILD_ARGUMENTS"] = "-Dmaven.test.skip=true -q"
	built, err := r.Build(b, project(""))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := answer(t, r, b.Runtime.(machine).home, built.Processes["web"]); got != "5d41402abc4b2a76b9719d911017c592" {
		t.Errorf("the app says %q", got)
	}
	first := treeKey(t, filepath.Join(r.App, "target"))
	if _, err := r.Build(b, project("")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if treeKey(t, filepath.Join(r.App, "target")) != first {
		t.Error("the same sources make another build")
	}
	if kit.Exists(r.App, "target/classes") || !kit.IsFile(r.App, "target/dependency/commons-codec-1.17.1.jar") {
		t.Error("the image has what it does not need, or lacks what it does")
	}
	broken := project("")
	broken["src/main/java/shop/Main.java"] = strings.Replace(webApp, "s.start();", "s.begin();", 1)
	if _, err := r.Build(b, broken); err == nil || kit.Line(err) != "mvn failed (exit status 1): src/main/java/shop/Main.java, line 9: cannot find symbol" {
		t.Errorf("%v", err)
	}
	if _, err := r.Build(b, project("<build><plugins><plugin><groupId>org.example</groupId><artifactId>none-plugin</artifactId><version>9</version><executions><execution><phase>compile</phase><goals><goal>x</goal></goals></execution></executions></plugin></plugins></build>")); err == nil ||
		kit.Line(err) != "mvn failed (exit status 1): the plugin org.example:none-plugin:9 was not found; check its name and version" {
		t.Errorf("%v", err)
	}
}

func treeKey(t *testing.T, dir string) string {
	t.Helper()
	var parts []string
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		sum, err := kit.FileKey(path)
		parts = append(parts, path, sum)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return kit.Key(parts...)
}

// TestWar: Tomcat serves a war.
func TestWar(t *testing.T) {
	b, out := tools(t)
	r := bptest.New(t, catalog.Java)
	built, err := r.Build(b, map[string]string{"shop.war": zipOf(t, map[string]string{"index.html": "hello from a war", "WEB-INF/web.xml": `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0"/>`}, nil)})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := answer(t, r, b.Runtime.(machine).home, built.Processes["web"]); got != "hello from a war" {
		t.Errorf("the app says %q", got)
	}
	if _, err := r.Build(b, map[string]string{"shop.war": zipOf(t, map[string]string{"WEB-INF/web.xml": `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee"/>`}, nil)}); err != nil || !r.Reused("tomcat") {
		t.Errorf("Tomcat is not reused: %v", err)
	}
}

// TestLibrariesBeside: a jar with a main class whose libraries the build has put beside it starts with them.
func TestLibrariesBeside(t *testing.T) {
	b, _ := tools(t)
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	manifest := func(more string) map[string]string {
		return map[string]string{manifestName: "Manifest-Version: 1.0\r\nMain-Class: shop.Main\r\n" + more + "\r\n"}
	}
	write("pom.xml", pomOf(""))
	write("target/dependency/lib.jar", zipOf(t, nil, nil))
	for more, want := range map[string]string{"": "-cp target/shop.jar:target/dependency/* shop.Main", "Class-Path: lib/lib.jar\r\n": "-cp target/shop.jar:target/dependency/* shop.Main", "Class-Path: dependency/lib.jar\r\n": "-jar target/shop.jar"} {
		write("target/shop.jar", zipOf(t, manifest(more), nil))
		x := &build{Buildpack: b, app: dir, env: kit.Env{}, source: source{tool: maven}}
		list, err := x.programs()
		if err != nil || len(list) != 1 {
			t.Fatalf("%v %v", list, err)
		}
		p, err := list[0].start()
		if err != nil || !strings.HasSuffix(strings.ReplaceAll(p.Arguments[1], "'", ""), want) {
			t.Errorf("%q: %v %v, want %s", more, p, err, want)
		}
	}
}

// TestGradle: the wrapper's distribution comes from where it says, and is checked; what it builds starts.
func TestGradle(t *testing.T) {
	b, out := tools(t)
	home := b.Runtime.(machine).home
	// It builds what Gradle's application plugin would: a script and the libraries.
	distribution := zipOf(t, map[string]string{"gradle-8.10/bin/gradle": "#!/bin/sh\nset -e\necho \"$@\" > args\nmkdir -p build/install/shop/bin build/install/shop/lib build/classes\n" +
		"javac -d build/classes src/main/java/shop/Main.java\njar --create --file build/install/shop/lib/shop.jar -C build/classes .\n" +
		"printf '#!/bin/sh\\nexec java $JAVA_OPTS -cp \"$(dirname \"$0\")/../lib/shop.jar\" shop.Main\\n' > build/install/shop/bin/shop\nchmod +x build/install/shop/bin/shop\n"}, nil)
	distribution = executable(t, distribution)
	sum := sha256.Sum256([]byte(distribution))
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/gradle-8.10-bin.zip":
			_, _ = w.Write([]byte(distribution))
		case "/gradle-8.10-bin.zip.sha256":
			fmt.Fprintln(w, hex.EncodeToString(sum[:]))
		default:
			http.NotFound(w, q)
		}
	}))
	defer mirror.Close()
	project := func(version, more string) map[string]string {
		return map[string]string{"build.gradle": "plugins {\n    id 'application'\n}\n", "src/main/java/shop/Main.java": webApp,
			"gradle/wrapper/gradle-wrapper.properties": "distributionUrl=" + strings.ReplaceAll(mirror.URL, ":", `\:`) + "/gradle-" + version + "-bin.zip\n" + more}
	}
	r := bptest.New(t, catalog.Java)
	built, err := r.Build(b, project("8.10", ""))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if args := kit.Text(r.App, "args"); args != "--no-daemon --console=plain installDist -x test" {
		t.Errorf("gradle %s", args)
	}
	if got := answer(t, r, home, built.Processes["web"]); got != "hello v1" {
		t.Errorf("the app says %q", got)
	}
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a version that does not exist":   {project("99", ""), "127.0.0.1 does not have the Gradle that the wrapper names: " + mirror.URL + "/gradle-99-bin.zip; correct distributionUrl in gradle/wrapper/gradle-wrapper.properties"},
		"another file than the wrapper's": {project("8.10", "distributionSha256Sum="+strings.Repeat("0", 64)+"\n"), mirror.URL + "/gradle-8.10-bin.zip is not what was expected: its checksum is " + hex.EncodeToString(sum[:]) + ", not " + strings.Repeat("0", 64)},
	} {
		r := bptest.New(t, catalog.Java)
		if _, err := r.Build(b, tt.files); err == nil || kit.Line(err) != tt.want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, tt.want)
		}
	}
	mirror.Close()
	r = bptest.New(t, catalog.Java)
	if _, err := r.Build(b, project("8.10", "")); err == nil || !strings.HasPrefix(kit.Line(err), "Gradle cannot be fetched from 127.0.0.1: ") {
		t.Errorf("%v", err)
	}
}

// executable gives all members of a zip file the right to be executed.
func executable(t *testing.T, in string) string {
	t.Helper()
	r, err := zip.NewReader(strings.NewReader(in), int64(len(in)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range r.File {
		h := &zip.FileHeader{Name: f.Name}
		h.SetMode(0o755)
		m, err := w.CreateHeader(h)
		if err == nil {
			_, err = m.Write([]byte(readMember(f)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

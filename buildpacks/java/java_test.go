package java

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

func pomOf(inner string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>` +
		"<groupId>org.example</groupId><artifactId>shop</artifactId><version>1.0</version>" + inner + "</project>\n"
}

const looksFor = "pom.xml, build.gradle, build.sbt, project.clj, deps.edn, a jar or a war"

func TestDetect(t *testing.T) {
	wrapper := func(v string) string {
		return "distributionUrl=https\\://services.gradle.org/distributions/gradle-" + v + "-bin.zip\r\n"
	}
	const wrapperFile = "gradle/wrapper/gradle-wrapper.properties"
	tests := []struct {
		name  string
		files map[string]string
		out   string
		err   string
	}{
		{"Maven", map[string]string{"pom.xml": pomOf("")}, "Java (pom.xml, any java)", ""},
		{"Maven's release", map[string]string{"pom.xml": pomOf("<properties><maven.compiler.release> 17 </maven.compiler.release></properties>")}, "Java (pom.xml, java 17 or later)", ""},
		{"a property of a property", map[string]string{"pom.xml": pomOf("<properties><v>21</v><java.version>${v}</java.version></properties>")}, "Java (pom.xml, java 21 or later)", ""},
		{"the compiler's plugin", map[string]string{"pom.xml": pomOf("<build><plugins><plugin><artifactId>maven-compiler-plugin</artifactId><configuration><release>25</release></configuration></plugin></plugins></build>")}, "Java (pom.xml, java 25 or later)", ""},
		{"Java 8 by its old name", map[string]string{"pom.xml": pomOf("<properties><maven.compiler.source>1.8</maven.compiler.source></properties>")}, "Java (pom.xml, java 8 or later)", ""},
		{"an old Spring Boot", map[string]string{"pom.xml": pomOf("<parent><groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-parent</artifactId><version>2.3.4.RELEASE</version></parent>")}, "Java (pom.xml, any java)", ""},
		{"system.properties", map[string]string{"pom.xml": pomOf(""), "system.properties": "\ufeff# a comment\r\njava.runtime.version=17\r\n"}, "Java (pom.xml, java 17)", ""},
		{"jenv", map[string]string{"pom.xml": pomOf(""), ".java-version": "# for production\n17.0.2\n"}, "Java (pom.xml, java 17)", ""},
		{"SDKMAN", map[string]string{"pom.xml": pomOf(""), ".sdkmanrc": "# Enable auto-env\njava=21.0.2-tem\n"}, "Java (pom.xml, java 21)", ""},
		{"asdf", map[string]string{"pom.xml": pomOf(""), ".tool-versions": "maven 3.9.6\njava temurin-17.0.10+7\n"}, "Java (pom.xml, java 17)", ""},
		{"mise", map[string]string{"pom.xml": pomOf(""), "mise.toml": "[tools]\njava = 'zulu-25'\n"}, "Java (pom.xml, java 25)", ""},
		{"UTF-16", map[string]string{"pom.xml": pomOf(""), ".java-version": "\xff\xfe2\x005\x00"}, "Java (pom.xml, java 25)", ""},
		{"no version", map[string]string{"pom.xml": pomOf(""), ".java-version": "newest\n"}, "", `.java-version asks for Java "newest", which is not a version; write a version such as 21`},
		{"malformed", map[string]string{"pom.xml": "<project>\n<a></b></project>"}, "", "pom.xml is not valid XML, line 2: element <a> closed by </b>; correct it and push again"},
		{"Kotlin", map[string]string{"build.gradle.kts": "kotlin { jvmToolchain(17) }", "src/main/kotlin/App.kt": ""}, "Kotlin (build.gradle.kts, java 17)", ""},
		{"a toolchain", map[string]string{"build.gradle": "java { toolchain { languageVersion = JavaLanguageVersion.of(21) } }"}, "Java (build.gradle, java 21)", ""},
		{"a target", map[string]string{"build.gradle": "sourceCompatibility = JavaVersion.VERSION_1_8\n"}, "Java (build.gradle, java 8 or later)", ""},
		{"what Gradle runs on", map[string]string{"build.gradle": "", "gradle/gradle-daemon-jvm.properties": "#generated\ntoolchainVersion=17\n"}, "Java (build.gradle, java 17)", ""},
		{"an old Gradle", map[string]string{"build.gradle": "", wrapperFile: wrapper("7.4.2")}, "Java (build.gradle, any java)", ""},
		{"Scala", map[string]string{"build.sbt": ""}, "Scala (build.sbt, any java)", ""},
		{"Leiningen", map[string]string{"project.clj": "(defproject a \"1\")"}, "Clojure (project.clj, any java)", ""},
		{"tools.deps", map[string]string{"deps.edn": "{}", "package.json": "{}"}, "Clojure (deps.edn, any java)", ""},
		{"sources of a front end", map[string]string{"deps.edn": "{}", "shadow-cljs.edn": "{}", "package.json": "{}"}, looksFor, ""},
		{"a front end beside it", map[string]string{"pom.xml": pomOf(""), "package.json": `{"scripts":{"start":"ng serve"}}`}, "Java (pom.xml, any java)", ""},
		{"an unpacked war", map[string]string{"WEB-INF/web.xml": "<web-app/>"}, "Java (WEB-INF, any java)", ""},
		{"an unpacked jar", map[string]string{"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\r\nMain-Class: a.B\r\n"}, "Java (META-INF/MANIFEST.MF, any java)", ""},
		{"a jar that is none", map[string]string{"lib.jar": "x"}, looksFor, ""},
		{"nothing", map[string]string{"Main.txt": ""}, looksFor, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := &bytes.Buffer{}
			passed, err := bptest.New(t, catalog.Java).Detect(Buildpack{Out: out}, tt.files)
			got, msg := strings.TrimSpace(out.String()), ""
			got = strings.TrimPrefix(strings.TrimPrefix(got, "gitd-detect: "), "gitd-looked-for: ")
			if err != nil {
				msg = kit.Line(err)
			}
			if got != tt.out || msg != tt.err || passed != (err == nil && tt.out != looksFor) {
				t.Errorf("got %v %q %q, want %q %q", passed, got, msg, tt.out, tt.err)
			}
		})
	}
}

// TestPick: a version that a person writes is taken as it is; a compiler's target is raised to one with long support that the build tool runs on.
func TestPick(t *testing.T) {
	for _, tt := range []struct {
		w    want
		pick int
	}{
		{want{}, 21}, {want{version: 11}, 11}, {want{version: 26}, 26}, {want{version: 8, atLeast: true}, 17}, {want{version: 17, atLeast: true}, 17}, {want{version: 18, atLeast: true}, 21},
		{want{version: 24, atLeast: true}, 25}, {want{version: 26, atLeast: true}, 26}, {want{newest: 17}, 17}, {want{newest: 25}, 21}, {want{newest: 11}, 11}, {want{version: 8, atLeast: true, newest: 11}, 11},
		{want{newest: 15}, 11}, {want{newest: 8}, 8}, {want{version: 7}, 8}, {want{version: 7, atLeast: true}, 17}, {want{version: 6, atLeast: true}, 11}, {want{version: 5, atLeast: true}, 8},
		{want{version: 15, atLeast: true, newest: 15}, 15},
	} {
		if got := tt.w.pick(); got != tt.pick {
			t.Errorf("%+v: %d, want %d", tt.w, got, tt.pick)
		}
	}
	for version, java := range map[string]int{"9.1.0": 25, "9.0.0": 23, "8.14.3": 23, "8.5": 21, "8.4": 17, "7.6.4": 17, "6.9": 15, "5.6.4": 11, "4.10.3": 8, "": 0} {
		if got := newestFor(version, gradleRuns); got != java {
			t.Errorf("Gradle %s: %d, want %d", version, got, java)
		}
	}
}

func TestFeature(t *testing.T) {
	for text, want := range map[string]int{
		"21": 21, "21.0.2-tem": 21, "temurin-17.0.10+7": 17, "zulu-1.8.0_292": 8, "1.8": 8, "openjdk-25": 25, "corretto-11.0.22.7.1": 11, "graalvm-community-21.0.2": 21, "17.*": 17, ">=17": 17, "v21": 21, "lts": 21,
		"8": 8, "": 0, "newest": 0, "4": 0, "123": 0, "1": 0,
	} {
		if got, ok := feature(text); got != want && ok || ok != (want != 0) {
			t.Errorf("%q: %d %v, want %d", text, got, ok, want)
		}
	}
}

func TestProperties(t *testing.T) {
	got := properties("# c\n! c\ndistributionUrl=https\\://a/b\n java.runtime.version : 17 \nkey value\nempty=\n")
	if got["distributionUrl"] != "https://a/b" || got["java.runtime.version"] != "17" || got["key"] != "value" || len(got) != 4 {
		t.Errorf("%q", got)
	}
}

// TestReason: the cause is in the error, not the last line of the tool.
func TestReason(t *testing.T) {
	for _, tt := range []struct{ name, said, want string }{
		{"javac by Maven", "[ERROR] COMPILATION ERROR : \n[ERROR] /workspace/src/main/java/App.java:[5,9] cannot find symbol\n  symbol: x\n[ERROR] Failed to execute goal org.apache.maven.plugins:maven-compiler-plugin:3.13:compile (default-compile) on project shop: Compilation failure\n",
			"mvn failed (exit status 1): src/main/java/App.java, line 5: cannot find symbol"},
		{"javac by Gradle", "> Task :compileJava FAILED\n/workspace/src/main/java/App.java:7: error: ';' expected\n    int x\n", "mvn failed (exit status 1): src/main/java/App.java, line 7: ';' expected"},
		{"kotlinc", "e: file:///workspace/src/main/kotlin/App.kt:3:5 Unresolved reference 'x'.\n", "mvn failed (exit status 1): src/main/kotlin/App.kt, line 3: Unresolved reference 'x'."},
		{"scalac", "[error] /workspace/app/Main.scala:4:3: not found: value x\n", "mvn failed (exit status 1): app/Main.scala, line 4: not found: value x"},
		{"a newer Java", "[ERROR] Fatal error compiling: error: invalid target release: 25 -> [Help 1]\n", "mvn failed (exit status 1): the app is written for Java 25, and this is Java 21; write java.runtime.version=25 into system.properties"},
		{"a newer Java, by --release", "error: release version 25 not supported\n", "mvn failed (exit status 1): the app is written for Java 25, and this is Java 21; write java.runtime.version=25 into system.properties"},
		{"an old language", "[ERROR] Source option 5 is no longer supported. Use 8 or later.\n", "mvn failed (exit status 1): the build asks for the language of Java 5, which Java 21 does not compile; set maven.compiler.release in pom.xml, or write java.runtime.version=8 into system.properties"},
		{"a dependency", "[ERROR] Failed to execute goal on project shop: Could not resolve dependencies for project org.example:shop:jar:1.0: Could not find artifact org.example:none:jar:9.9 in central (https://maven.example.com) -> [Help 1]\n",
			"mvn failed (exit status 1): the dependency org.example:none:jar:9.9 was not found; check its name and version, and that the repository that has it is one of the build's"},
		{"a dependency by Gradle", "> Could not resolve all files for configuration ':compileClasspath'.\n   > Could not find org.example:none:9.9.\n", "mvn failed (exit status 1): the dependency org.example:none:9.9 was not found; check its name and version, and that the repository that has it is one of the build's"},
		{"a server", "[ERROR] Could not transfer artifact org.example:a:pom:1 from/to private (https://repo.example.org/m2): Unknown host repo.example.org\n",
			"mvn failed (exit status 1): repo.example.org cannot be reached; check that builds reach it; MAVEN_MIRROR_URL names a mirror of Maven Central"},
		{"a server of several", "Could not find artifact ring:ring-core:pom:1.15.3 in central (https://central.example.org/maven2/)\nCould not transfer artifact ring:ring-core:pom:1.15.3 from/to clojars (https://jars.example.org/): jars.example.org: Name or service not known\n",
			"mvn failed (exit status 1): ring:ring-core:pom:1.15.3 was not found, and jars.example.org cannot be reached; check that builds reach it"},
		{"a plugin of sbt", "[error] stack trace is suppressed\n[error] Error downloading com.typesafe.sbt:sbt-native-packager;sbtVersion=1.0;scalaVersion=2.12:1.7.5\n[error]   Not found\n" +
			"[error]   download error: Caught java.net.UnknownHostException (sbt.example.org) while downloading https://sbt.example.org/x\n[warn] Project loading failed: (r)etry, (q)uit, (l)ast, or (i)gnore? (default: r)\n",
			"mvn failed (exit status 1): com.typesafe.sbt:sbt-native-packager:1.7.5 was not found, and sbt.example.org cannot be reached; check that builds reach it, or take a newer version: those of sbt's plugins are in Maven Central"},
		{"a server by tools.deps", "Execution error (UnknownHostException) at java.net.Inet6AddressImpl/lookupAllHostAddr (Inet6AddressImpl.java:-2).\njars.example.org: Name or service not known\n\nFull report at:\n/tmp/clojure-1.edn\n",
			"mvn failed (exit status 1): jars.example.org cannot be reached; check that builds reach it; MAVEN_MIRROR_URL names a mirror of Maven Central"},
		{"Clojure", "Syntax error compiling at (shop/core.clj:5:3).\nUnable to resolve symbol: x in this context\n", "mvn failed (exit status 1): shop/core.clj, line 5: Unable to resolve symbol: x in this context"},
		{"a server by sbt", "[error] not found: https://central.example.org/maven2/x.pom\n[error] download error: Caught java.net.UnknownHostException: sbt.example.org (sbt.example.org) while downloading https://sbt.example.org/x\n",
			"mvn failed (exit status 1): sbt.example.org cannot be reached; check that builds reach it; MAVEN_MIRROR_URL names a mirror of Maven Central"},
		{"Node.js", "[ERROR] Failed to execute goal com.github.eirslett:frontend-maven-plugin:1.15.0:install-node-and-npm (node) on project shop: Could not download Node.js: Could not download https://nodejs.org/dist/v20/x.tar.gz\n",
			"mvn failed (exit status 1): the front end needs Node.js, which its Maven plugin fetches by itself: Could not download Node.js: Could not download https://nodejs.org/dist/v20/x.tar.gz; check that builds reach nodejs.org, or build the front end before the push"},
		{"memory", "java.lang.OutOfMemoryError: Java heap space\n", "mvn failed (exit status 1): it ran out of memory; more memory for builds: gitd serve --build-memory"},
		{"another goal", "[ERROR] Failed to execute goal org.apache.maven.plugins:maven-war-plugin:2.2:war (default-war) on project shop: webxml attribute is required -> [Help 1]\n", "mvn failed (exit status 1): maven-war war: webxml attribute is required"},
		{"Gradle", "FAILURE: Build failed with an exception.\n\n* What went wrong:\nTask 'stage' not found in root project 'shop'.\n\n* Try:\n", "mvn failed (exit status 1): Task 'stage' not found in root project 'shop'."},
		{"nothing known", "boom\n", "mvn failed (exit status 1)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &build{app: "/workspace", java: 21, source: source{tool: maven}}
			if got := kit.Line(b.reason(tt.said, kit.Errorf("", "mvn failed (exit status 1)"))); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestMavenArgs: what Maven is called with.
func TestMavenArgs(t *testing.T) {
	plugin := func(name string) string {
		return pomOf("<properties><java.version>17</java.version></properties><build><plugins><plugin><artifactId>" + name + "</artifactId></plugin></plugins></build>")
	}
	for _, tt := range []struct {
		pom  string
		env  kit.Env
		want string
	}{
		{pomOf(""), kit.Env{}, "-DskipTests -Dmaven.compiler.source=1.8 -Dmaven.compiler.target=1.8 package"},
		{pomOf("<parent><artifactId>parent</artifactId></parent>"), kit.Env{}, "-DskipTests package dependency:copy-dependencies -DincludeScope=runtime -Dmdep.useRepositoryLayout=false"},
		{plugin("git-commit-id-maven-plugin"), kit.Env{}, "-DskipTests -Dmaven.gitcommitid.skip=true package"},
		{plugin("buildnumber-maven-plugin"), kit.Env{"MAVEN_CUSTOM_OPTS": "-Pprod"}, "-DskipTests -Dmaven.buildNumber.skip=true -Pprod package"},
		{pomOf(""), kit.Env{"BP_MAVEN_BUILD_ARGUMENTS": "-q 'a b' verify"}, "-q a b verify"},
		{pomOf("<properties><java.version>17</java.version></properties>"), kit.Env{"BP_MAVEN_BUILT_MODULE": "web", "MAVEN_CUSTOM_GOALS": "clean install"}, "-DskipTests -pl web -am clean install"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(tt.pom), 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := readPOM(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		args, err := (&build{app: dir, env: tt.env, java: 21}).mavenArgs(p)
		if got := strings.Join(args, " "); err != nil || got != tt.want {
			t.Errorf("mvn %s (%v), want %s", got, err, tt.want)
		}
	}
}

// TestChoose: of several parts the one that is put together by a framework, or is named like an app; else the person says it.
func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		name string
		list []program
		want string
	}{
		{"the only one", []program{{module: ".", rank: aProgram, file: "a.jar"}}, "a.jar"},
		{"the larger of one part", []program{{module: ".", rank: aProgram, size: 1, file: "a.jar"}, {module: ".", rank: aProgram, size: 2, file: "a-all.jar"}}, "a-all.jar"},
		{"a framework's", []program{{module: "a", rank: aProgram, file: "a.jar"}, {module: "b", rank: aWholeApp, file: "b.jar"}}, "b.jar"},
		{"by its name", []program{{module: "shop-core", rank: aProgram, file: "a.jar"}, {module: "shop-web", rank: aProgram, file: "b.jar"}}, "b.jar"},
		{"unclear", []program{{module: "two", rank: aProgram}, {module: "one", rank: aProgram}}, "several parts of the build can be started: one, two; name one of them: BP_MAVEN_BUILT_MODULE=one under [[io.buildpacks.build.env]] in project.toml; or add a Procfile"},
		{"nothing", nil, "the build left nothing that can be started: no jar with a main class, no war, no class with a main method; name the main class in the build (the plugin of the framework, or Main-Class in the jar's manifest), or add a Procfile with a line such as web: java -cp … Main"},
	} {
		p, err := (&build{source: source{tool: maven}}).choose(tt.list)
		got := ""
		if err != nil {
			got = kit.Line(err)
		} else {
			got = p.file
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// FuzzManifest: no manifest brings the parser down, and what is written can be read.
func FuzzManifest(f *testing.F) {
	f.Add("Manifest-Version: 1.0\r\nMain-Class: a.\r\n B\r\n\r\nName: x\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		m := manifest(text)
		m["Start-Class"] = strings.Repeat("a.b", 60)
		if got := mainClassOf(thinManifest(m, nil)); got != m["Start-Class"] {
			t.Errorf("%q: main class %q", text, got)
		}
	})
}

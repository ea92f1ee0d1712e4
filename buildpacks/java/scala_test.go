package java

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestSbt: the Java that sbt and the compiler of Scala run on, and the task that puts the app together.
func TestSbt(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		java  int
		task  string
	}{
		{"nothing said", map[string]string{"build.sbt": ""}, 21, "gitdPack"},
		{"today's", map[string]string{"build.sbt": `scalaVersion := "3.7.3"`, "project/build.properties": "sbt.version=1.11.7"}, 21, "gitdPack"},
		{"an old sbt", map[string]string{"build.sbt": `scalaVersion := "2.13.16"`, "project/build.properties": "sbt.version = 1.4.2\r\n"}, 11, "gitdPack"},
		{"a very old sbt", map[string]string{"build.sbt": `scalaVersion := "2.10.4"`, "project/build.properties": "sbt.version=0.13.5"}, 8, "gitdPack"},
		{"an old compiler", map[string]string{"build.sbt": `ThisBuild / scalaVersion := "2.13.8"`, "project/build.properties": "sbt.version=1.11.7"}, 17, "gitdPack"},
		{"its version has a name", map[string]string{"build.sbt": `lazy val scalaV = "x"; val scala3Version = "3.2.2"`}, 17, "gitdPack"},
		{"a plugin", map[string]string{"build.sbt": "enablePlugins(JavaAppPackaging)", "project/plugins.sbt": `addSbtPlugin("com.github.sbt" % "sbt-native-packager" % "1.11.1")`}, 21, "stage"},
		{"a plugin that no project has", map[string]string{"build.sbt": "", "project/plugins.sbt": `addSbtPlugin("com.github.sbt" % "sbt-native-packager" % "1.11.1")`}, 21, "gitdPack"},
		{"Play", map[string]string{"build.sbt": "lazy val root = (project in file(\".\")).enablePlugins(PlayScala)"}, 21, "stage"},
		{"a module's own build file", map[string]string{"build.sbt": "", "web/build.sbt": "enablePlugins(JavaServerAppPackaging)"}, 21, "stage"},
		{"one jar", map[string]string{"build.sbt": "", "project/assembly.sbt": `addSbtPlugin("com.eed3si9n" % "sbt-assembly" % "2.3.1")`}, 21, "assembly"},
	} {
		dir := t.TempDir()
		for name, text := range tt.files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := (want{newest: sbtNewest(dir)}).pick(); got != tt.java {
			t.Errorf("%s: Java %d, want %d", tt.name, got, tt.java)
		}
		b := &build{app: dir, env: kit.Env{}}
		if got, err := b.sbtTasks(); err != nil || strings.Join(got, " ") != tt.task {
			t.Errorf("%s: sbt %q (%v), want %s", tt.name, got, err, tt.task)
		}
	}
}

package java

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestGradleArgs: the task goes by the plugin that puts the app together; ours is for an app that has none.
func TestGradleArgs(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		env              kit.Env
		want             string
	}{
		{"application", "build.gradle", "plugins {\n    id 'application'\n}", nil, "installDist -x test"},
		{"application in Kotlin", "build.gradle.kts", "plugins {\n    application\n    kotlin(\"jvm\") version \"2.2.0\"\n}", nil, "installDist -x test"},
		{"Ktor", "build.gradle.kts", "plugins {\n    id(\"io.ktor.plugin\") version \"3.2.0\"\n}", nil, "installDist -x test"},
		{"Micronaut", "build.gradle", "plugins {\n    id(\"io.micronaut.application\") version \"4.5.4\"\n}", nil, "installDist -x test"},
		{"Micronaut with one jar", "build.gradle", "plugins {\n    id(\"io.micronaut.application\") version \"4.5.4\"\n    id(\"com.gradleup.shadow\") version \"8.3.7\"\n}", nil, "assemble -x test"},
		{"Spring Boot", "build.gradle", "plugins {\n    id 'org.springframework.boot' version '3.5.0'\n}", nil, "assemble -x test"},
		{"Quarkus", "build.gradle", "plugins {\n    id 'java'\n    id 'io.quarkus'\n}", nil, "assemble -x test"},
		{"a war", "build.gradle.kts", "plugins {\n    java\n    war\n}", nil, "assemble -x test"},
		{"one jar by hand", "build.gradle", "jar { from { configurations.compile.collect { zipTree(it) } } }", nil, "assemble -x test"},
		{"no plugin", "build.gradle", "plugins { id 'java' }", nil, "assemble gitdLibraries -x test"},
		{"a module", "build.gradle", "plugins { id 'java' }", kit.Env{"BP_GRADLE_BUILT_MODULE": "apps/web"}, ":apps:web:assemble :apps:web:gitdLibraries -x test"},
		{"stage", "build.gradle", "task stage(dependsOn: ['build'])", nil, "stage -x check"},
		{"a variable", "build.gradle", "", kit.Env{"BP_GRADLE_BUILD_ARGUMENTS": "--scan build"}, "--scan build"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		args, err := (&build{app: dir, env: tt.env}).gradleArgs()
		if got := strings.Join(args, " "); err != nil || got != tt.want {
			t.Errorf("%s: gradle %s (%v), want %s", tt.name, got, err, tt.want)
		}
	}
}

// TestUnknownHost: a server without an address is told as that.
func TestUnknownHost(t *testing.T) {
	b, _ := tools(t)
	x := &build{Buildpack: b, app: t.TempDir(), env: kit.Env{}}
	err := x.download("https://no-such-host.invalid/gradle-8.10-bin.zip", "", filepath.Join(t.TempDir(), "gradle.zip"))
	if u, ok := errors.AsType[*unreachable](err); !ok || u.reason != "its name is not known" {
		t.Errorf("%v", err)
	}
}

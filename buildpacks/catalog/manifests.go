package catalog

import "slices"

// manifests are the files by which a folder is an app of a language, by the buildpack that takes it. Pages alone, programs without such a file and
// projects of .NET, whose files have no fixed names, are found by their buildpacks.
var manifests = []struct {
	buildpack string
	files     []string
}{
	{NodeJS, []string{"package.json"}},
	{Deno, []string{"deno.json", "deno.jsonc"}},
	{Go, []string{"go.mod"}},
	{Rust, []string{"Cargo.toml"}},
	{Python, []string{"requirements.txt", "pyproject.toml", "uv.lock", "Pipfile", "setup.py", "manage.py"}},
	{Java, []string{"pom.xml", "build.gradle", "build.gradle.kts", "build.sbt", "project.clj", "deps.edn"}},
	{Elixir, []string{"mix.exs"}},
	{Ruby, []string{"Gemfile", "config.ru"}},
	{PHP, []string{"composer.json"}},
}

// Manifests are the files by which a folder is an app of a language, without those of some buildpacks.
func Manifests(without ...string) (files []string) {
	for _, m := range manifests {
		if !slices.Contains(without, m.buildpack) {
			files = append(files, m.files...)
		}
	}
	return files
}

package elixir

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestVersions: mix.exs says what may be, the files of version managers what is wanted.
func TestVersions(t *testing.T) {
	mix := func(requirement string) string {
		return "defmodule M do\n  def project do\n    [\n      app: :m,\n      # elixir: \"~> 1.1\",\n      elixir: \"" + requirement + "\"\n    ]\n  end\nend\n"
	}
	for _, c := range []struct {
		files map[string]string
		want  string // of trixie's; or a part of the error
	}{
		{map[string]string{"mix.exs": mix("~> 1.15")}, "1.18"},
		{map[string]string{"mix.exs": mix("~> 1.14.0")}, "1.14"},
		{map[string]string{"mix.exs": mix("~> 1.14.0 or ~> 1.18.2")}, "1.18"},
		{map[string]string{"mix.exs": mix(">= 1.13.0 and < 1.15.0")}, "1.14"},
		{map[string]string{"mix.exs": "defmodule M do\nend\n"}, "1.18"},
		{map[string]string{"mix.exs": mix("~> 1.12"), ".tool-versions": "erlang 25.3\nelixir 1.14.5-otp-25\n"}, "1.14"},
		{map[string]string{"mix.exs": mix("~> 1.12"), "elixir_buildpack.config": "# versions\nelixir_version=1.14.3\nerlang_version=25\n"}, "1.14"},
		{map[string]string{"mix.exs": mix("~> 1.12"), "mise.toml": "[tools]\nelixir = \"1.16.2-otp-26\"\n"}, "1.18"},
		{map[string]string{"mix.exs": mix("~> 1.12"), ".tool-versions": "elixir latest\n"}, "1.18"},
		{map[string]string{"mix.exs": mix("~> 1.19")}, "mix.exs requires Elixir ~> 1.19; Debian, which Elixir comes from, has 1.18 and 1.14"},
		{map[string]string{"mix.exs": mix("about 2")}, `requires Elixir "about 2", which is not a version`},
	} {
		r := bptest.New(t, catalog.Elixir)
		passed, err := r.Detect(New(&bytes.Buffer{}), c.files)
		got := ""
		if err == nil && passed {
			var w wanted
			var chosen release
			if w, err = wantedVersion(r.App); err == nil {
				chosen, err = w.choose(available["trixie"])
				got = chosen.line
			}
		}
		if err != nil {
			got = kit.Line(err)
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%v: %s, want %s", c.files, got, c.want)
		}
	}
}

// TestReasons: the line of mix's output that helps is in the error.
func TestReasons(t *testing.T) {
	for said, want := range map[string]string{
		"** (Mix) httpc request failed with: {:failed_connect, [{:to_address, {'builds.example.org', 443}}, {:inet, [:inet], :nxdomain}]}\n":    "builds.example.org cannot be reached",
		"Failed to fetch record for plug from registry (using cache instead)\n{:failed_connect, [{:inet, [:inet], :nxdomain}]}\n":               "the Hex registry cannot be reached",
		"** (Mix) You're trying to run :shop on Elixir v1.18.3 but it has declared in its mix.exs file it supports only Elixir ~> 1.18.4\n":     "it supports only Elixir ~> 1.18.4; require another",
		"** (RuntimeError) environment variable DATABASE_URL is missing.\nFor example: ecto://USER:PASS@HOST/DATABASE\n":                        "wants the variable DATABASE_URL",
		"error: undefined function foo/0 (expected Shop to define such a function)\n  lib/shop.ex:2: Shop.page/0\n\n** (CompileError) failed\n": "lib/shop.ex:2: undefined function foo/0",
		"** (Mix) No package with name plugg (from: mix.exs) in registry\n":                                                                     "Hex has no package plugg",
	} {
		if got := kit.Line(reason(said, kit.Errorf("", "mix x failed (exit status 1)"))); !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", said, got, want)
		}
	}
}

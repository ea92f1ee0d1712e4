package elixir

import (
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// project is what mix.exs comes to.
type project struct {
	app      string
	umbrella bool
	releases []string // that it defines
	chosen   string   // default_release
	aliases  []string
	phoenix  bool
}

// readScript asks mix.exs itself: it is a program. The lines begin with a word that nothing else prints.
const readScript = `Mix.start()
Mix.env(String.to_atom(System.get_env("MIX_ENV")))
Code.compile_file("mix.exs")
c = Mix.Project.config()
say = fn key, value -> IO.puts("gitd #{key} #{value}") end
say.("app", c[:app])
if c[:apps_path], do: say.("umbrella", "yes")
if c[:default_release], do: say.("chosen", c[:default_release])
for {name, _} <- c[:releases] || [], do: say.("release", name)
for {name, _} <- c[:aliases] || [], do: say.("alias", name)
`

var phoenixDep = pattern.New(`(?m)^[^#\n]*\{\s*:phoenix\s*,`)

// read reads the project.
func (b *build) read() error {
	out, err := kit.Cmd{Args: []string{"elixir", "-e", readScript}, Dir: b.app, Env: b.env, Out: b.Out, Name: "reading " + manifest, Next: "see what it says above"}.Output()
	if err != nil {
		return err
	}
	p := &b.project
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "gitd" {
			continue
		}
		switch f[1] {
		case "app":
			p.app = f[2]
		case "umbrella":
			p.umbrella = true
		case "chosen":
			p.chosen = f[2]
		case "release":
			p.releases = append(p.releases, f[2])
		case "alias":
			p.aliases = append(p.aliases, f[2])
		}
	}
	p.phoenix = phoenixDep.MatchString(kit.Text(b.app, manifest)) || strings.Contains(kit.Text(b.app, "mix.lock"), `"phoenix": {`)
	return nil
}

// releaseName is the release to make; "" for a project that has none to make.
func (p project) releaseName() (string, error) {
	switch {
	case p.chosen != "":
		return p.chosen, nil
	case len(p.releases) == 1:
		return p.releases[0], nil
	case len(p.releases) == 0 && p.umbrella:
		return "", nil // mix makes none of an umbrella that defines none
	case len(p.releases) == 0:
		return p.app, nil
	}
	for _, r := range p.releases {
		if r == p.app || r == "web" || r == "server" {
			return r, nil
		}
	}
	return "", kit.Errorf("set default_release in mix.exs", "mix.exs defines several releases: %s", strings.Join(p.releases, ", "))
}

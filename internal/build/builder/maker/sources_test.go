package maker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHostSources(t *testing.T) {
	const key = "/usr/share/keyrings/debian-archive-keyring.gpg"
	mirrors := filepath.Join(t.TempDir(), "mirrors")
	if err := os.WriteFile(mirrors, []byte("# ours\nhttp://first.example/debian\nhttp://second.example/debian\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		release string
		files   map[string]string
		want    []string
	}{
		"stanzas, and those of others left out": {"ID=debian\nVERSION_CODENAME=bookworm\n", map[string]string{
			"sources.list.d/debian.sources": "Types: deb\n# comment\nURIs: http://m.example/debian\nSuites: bookworm bookworm-updates\nComponents: main contrib\nSigned-By: " + key +
				"\n\nTypes: deb deb-src\nURIs: http://m.example/security\nSuites: bookworm-security\nComponents: main\nSigned-By: " + key + "\n",
			"sources.list.d/cloud.list":       "deb https://c.example/apt cloud-sdk-bookworm main\n",
			"sources.list.d/node.sources":     "Types: deb\nURIs: https://n.example\nSuites: nodistro\nComponents: main\n",
			"sources.list.d/vendor.list":      "deb [arch=amd64 signed-by=/usr/share/keyrings/vendor.gpg] https://v.example bookworm main\n",
			"sources.list.d/docker.list":      "deb [signed-by=/etc/apt/keyrings/docker.asc] https://d.example bookworm stable\n",
			"sources.list.d/off.sources":      "Enabled: no\nTypes: deb\nURIs: http://off.example\nSuites: bookworm\nComponents: main\n",
			"sources.list.d/embedded.sources": "Types: deb\nURIs: http://e.example\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN PGP\n .\n abc\n",
			"sources.list.d/old.list.save":    "deb http://old.example bookworm main\n",
		}, []string{
			"deb [signed-by=" + key + "] http://m.example/debian bookworm main", "deb [signed-by=" + key + "] http://m.example/debian bookworm-updates main",
			"deb [signed-by=" + key + "] http://m.example/security bookworm-security main",
		}},
		"lines, of a newer release": {"ID=debian\nVERSION_CODENAME=\"trixie\"\n", map[string]string{
			"sources.list": "# deb http://no.example trixie main\ndeb\thttp://m.example/debian trixie main # ours\ndeb-src http://m.example/debian trixie main\ndeb cdrom:[Debian]/ trixie main\ndeb http://m.example/debian trixie main\n",
		}, []string{"deb http://m.example/debian bookworm main"}},
		"a list of mirrors": {"ID=debian\nVERSION_CODENAME=bookworm\n", map[string]string{
			"sources.list.d/debian.sources": "Types: deb\nURIs: mirror+file://" + mirrors + "\nSuites: bookworm\nComponents: main\n",
		}, []string{"deb http://first.example/debian bookworm main"}},
		"updates alone are no system": {"ID=debian\nVERSION_CODENAME=bookworm\n", map[string]string{"sources.list": "deb http://m.example bookworm-updates main\n"}, nil},
		"not Debian":                  {"ID=ubuntu\nVERSION_CODENAME=noble\n", map[string]string{"sources.list": "deb http://m.example noble main\n"}, nil},
		"broken":                      {"ID=debian\nVERSION_CODENAME=bookworm\n", map[string]string{"sources.list": "deb [signed-by=x http://m.example bookworm main\ndeb\ndeb a\n", "sources.list.d/x.sources": ":\n \n"}, nil},
	} {
		t.Run(what, func(t *testing.T) {
			etc := t.TempDir()
			for name, text := range c.files {
				f := filepath.Join(etc, "apt", name)
				if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(etc, "os-release"), []byte(c.release), 0o644); err != nil {
				t.Fatal(err)
			}
			got := strings.TrimSpace(lines(hostSources(etc, "bookworm")))
			if want := strings.Join(c.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestWithoutPasswords(t *testing.T) {
	got := withoutPasswords(parseList("deb https://me:secret@m.example/debian bookworm main\n"))
	if len(got) != 1 || got[0].URI != "https://m.example/debian" {
		t.Errorf("%v", got)
	}
}

func FuzzSources(f *testing.F) {
	f.Add("deb [signed-by=/a] http://m bookworm main")
	f.Add("Types: deb\nURIs: http://m\nSuites: a b\nComponents: main\n\n X\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range append(parseList(text), parseDeb822(text)...) {
			if strings.ContainsAny(s.String(), "\n\r") {
				t.Errorf("a source of more than one line: %q", s.String())
			}
		}
	})
}

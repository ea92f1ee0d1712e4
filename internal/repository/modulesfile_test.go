package repository

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// asGit reads .gitmodules with git config. ok is false where git does not read it.
func asGit(t *testing.T, text []byte) (urls map[string]string, ok bool) {
	t.Helper()
	c := exec.Command("git", "config", "--no-includes", "-z", "--file", "-", "--get-regexp", `^submodule\..*\.(path|url)$`)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C"}
	c.Stdin = bytes.NewReader(text)
	out, err := c.Output()
	if err != nil && c.ProcessState.ExitCode() != 1 { // 1: none is there
		return nil, false
	}
	paths, all := map[string]string{}, map[string]string{} // by the submodule's name
	for line := range strings.SplitSeq(string(out), "\x00") {
		key, value, _ := strings.Cut(line, "\n")
		name, found := strings.CutPrefix(key, "submodule.")
		if !found {
			continue
		}
		if n, found := strings.CutSuffix(name, ".path"); found {
			paths[n] = value
		} else if n, found := strings.CutSuffix(name, ".url"); found {
			all[n] = value
		}
	}
	urls = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		if paths[name] != "" {
			urls[strings.TrimSuffix(paths[name], "/")] = all[name]
		}
	}
	return urls, true
}

var modulesFiles = []string{
	"[submodule \"a\"]\n\tpath = a\n\turl = https://example.com/a\n",
	"[submodule \"a b\"]\n\tpath = \"a b\"\n\turl = \"https://example.com/#a\" ; comment\n[other]\nx=y\n",
	"[SubModule \"a\"]\nPATH=x/\nUrl=y\n",
	"[submodule \"a\"]\npath=a\npath=b\nurl=1\n[submodule \"a\"]\nurl=2\n",
	"[submodule.a]\npath=a\nurl=b\n",
	"[submodule \"a\\\"\\\\b\"]\npath=a\\\nb\nurl=\\t\\\"x\\\"\n",
	"[submodule \"a\"]\npath\nurl\n",
	"[submodule \"a\"] path = a\n",
	"# comment\n; other\n\n[submodule]\npath=x\n",
	"[submodule \"\"]\npath=x\nurl=y\n",
	"\ufeff[submodule \"a\"]\npath=a\n",
	"[submodule \"a\"]\r\npath=a\r\nurl=b\r\n",
	"[submodule \"a\"]\npath = a   b  \nurl = \" b \" \n",
	"[include]\npath = /etc/passwd\n[submodule \"i\"]\npath=i\nurl=j\n",
	"path=x\n", "[submodule \"a\"\npath=x", "[submodule \"a\nb\"]\npath=x\n", "[submodule \"a\"]\npath=\"x\n",
	"[submodule \"a\"]\npath=\\x\n", "[submodule \"a\"]\n1path=x\n", "",
	"[]\n[submodule \"x\"]\npath=y\n", "[ \"x\"]\npath=y\n", "[submodule \"\u017f\"]\npath=\u017f\nurl=\xff\n", "[\u017fubmodule \"a\"]\npath=a\nurl=b\n",
}

// What is read of .gitmodules is what git config reads.
func TestModules_AsGit(t *testing.T) {
	for _, text := range modulesFiles {
		compareModules(t, []byte(text))
	}
}

func FuzzModules_AsGit(f *testing.F) {
	for _, text := range modulesFiles {
		f.Add([]byte(text))
	}
	f.Fuzz(compareModules)
}

func compareModules(t *testing.T, text []byte) {
	if bytes.IndexByte(text, 0) >= 0 {
		t.Skip("git's strings end at a NUL; no path of a tree and no URL that is fetched has one")
	}
	want, ok := asGit(t, text)
	got, badLine := parseModules(text)
	spaces := strings.NewReplacer("\t", " ", "\v", " ", "\f", " ", "\r", " ") // within a value; git 2.45 and newer keep them as they are
	if (badLine == 0) != ok || ok && spaces.Replace(fmt.Sprint(got)) != spaces.Replace(fmt.Sprint(want)) {
		t.Errorf("%q: %q, bad line %d; git: %q %v", text, got, badLine, want, ok)
	}
}

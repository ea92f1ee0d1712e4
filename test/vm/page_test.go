package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestReadPage(t *testing.T) {
	p, err := readPage("On Debian: `apt-get install git runc`. More.\n\n```\nmake\n```\n```\n# /etc/systemd/system/gitd.service\n[Unit]\nA=b\n```\n" +
		"\n```\n# /etc/systemd/system/gitd.socket\n[Socket]\n```\n```\n# elsewhere\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.packages, []string{"git", "runc"}) {
		t.Errorf("packages: %q", p.packages)
	}
	if len(p.units) != 2 || p.units["gitd.service"] != "[Unit]\nA=b\n" || p.units["gitd.socket"] != "[Socket]\n" {
		t.Errorf("units: %q", p.units)
	}
	for _, text := range []string{"", "On Debian: `apt-get install git`", "```\n# /etc/systemd/system/gitd.service\n[Unit]\n```\n"} {
		if _, err := readPage(text); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}

// The page as it is has all that the machine is set up by.
func TestInstallPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	p, err := readPage(string(b))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(p.packages, "runc") {
		t.Errorf("packages: %q", p.packages)
	}
	if !strings.Contains(p.units["gitd.service"], "ExecStart=") {
		t.Errorf("gitd.service: %s", p.units["gitd.service"])
	}
}

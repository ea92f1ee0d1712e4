package catalog

import (
	"testing"

	"github.com/BurntSushi/toml"
)

// TestDescriptors: what buildpack.toml says is what the constants say, and each buildpack has its place in the order.
func TestDescriptors(t *testing.T) {
	ordered := map[string]bool{}
	for _, g := range Order() {
		for _, e := range g {
			ordered[e.ID+"@"+e.Version] = true
		}
	}
	want := []string{Go, Rust, Java, Elixir, DotNet, Deno, NodeJS, Python, Ruby, PHP, Static, Procfile, Packages}
	all := All()
	if len(all) != len(want) {
		t.Fatalf("%d buildpacks, want %d", len(all), len(want))
	}
	for i, b := range all {
		if b.ID != want[i] || b.Version != Version || b.Name == "" {
			t.Errorf("buildpack %d is %s %s %q, want %s %s", i, b.ID, b.Version, b.Name, want[i], Version)
		}
		if !ordered[b.ID+"@"+b.Version] {
			t.Errorf("%s is in no group", b.ID)
		}
		var d struct{ API string }
		if err := toml.Unmarshal(b.Descriptor, &d); err != nil || d.API != API {
			t.Errorf("%s: api %q, %v", b.ID, d.API, err)
		}
	}
}

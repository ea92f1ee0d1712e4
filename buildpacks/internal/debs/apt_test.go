package debs

import (
	"slices"
	"testing"
)

// TestNames: what is asked of another release comes from it, but for what has to fit the image.
func TestNames(t *testing.T) {
	sources := "deb http://deb.example.org/debian trixie main\n"
	r := Request{Packages: []string{"libssl-dev", "ruby3.1"}, Own: []string{"libssl-dev"}}
	for suite, want := range map[string][]string{"bookworm": {"libssl-dev", "ruby3.1/bookworm"}, "trixie": {"libssl-dev", "ruby3.1"}, "": {"libssl-dev", "ruby3.1"}} {
		r.Suite = suite
		if got := (&apt{r: r, sources: sources}).names(); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", suite, got, want)
		}
	}
}

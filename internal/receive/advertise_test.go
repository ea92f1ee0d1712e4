package receive

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/repository"
)

func TestAdvertise(t *testing.T) {
	const capabilities = "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta push-options object-format=sha1 agent=gitd/1 push-cert=abc\n"
	one, two := strings.Repeat("12", 20), strings.Repeat("ab", 20)
	for _, tt := range []struct {
		ref, commit string
		shallow     []string
		protocol    string
		want        []string
	}{
		{"", "", nil, "", []string{repository.ZeroID + " capabilities^{}\x00" + capabilities}},
		{"refs/heads/main", one, nil, "", []string{one + " refs/heads/main\x00" + capabilities}},
		{"refs/heads/master", one, []string{one, two}, "version=1", []string{"version 1\n", one + " refs/heads/master\x00" + capabilities, "shallow " + one + "\n", "shallow " + two + "\n"}},
		{"", "", []string{two}, "version=2", []string{repository.ZeroID + " capabilities^{}\x00" + capabilities, "shallow " + two + "\n"}},
	} {
		refs := map[string]string{}
		if tt.ref != "" {
			refs[tt.ref] = tt.commit
		}
		got, err := advertise(refs, tt.shallow, tt.protocol, "abc")
		if want := packets(tt.want...); err != nil || string(got) != want {
			t.Errorf("%q %v; want %q", got, err, want)
		}
	}
}

func BenchmarkAdvertise(b *testing.B) {
	for b.Loop() {
		if _, err := advertise(map[string]string{"refs/heads/main": strings.Repeat("12", 20)}, nil, "", "abc"); err != nil {
			b.Fatal(err)
		}
	}
}

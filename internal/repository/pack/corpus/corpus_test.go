package corpus

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestCorpus makes everything, which takes minutes and the network the first time: only where GITD_CORPUS is set, as in CI.
func TestCorpus(t *testing.T) {
	if os.Getenv("GITD_CORPUS") == "" {
		t.Skip("GITD_CORPUS is not set: the corpus is neither made nor looked at")
	}
	all, err := Releases(t.Context(), t.Logf)
	if err != nil || len(all) < 30 {
		t.Fatal(len(all), err)
	}
	for _, c := range []struct {
		name           string
		bytes, objects int
		of             func() (string, error)
	}{
		{"medium", 10 << 20, 10000, func() (string, error) { return Medium(t.Context(), t.Logf) }},
		{"large", 300 << 20, 500_000, func() (string, error) { return Large(t.Context(), t.Logf) }},
	} {
		r, err := c.of()
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("git", "-C", r, "count-objects", "-v").Output()
		if err != nil {
			t.Fatal(err)
		}
		of := map[string]int{}
		for l := range strings.Lines(string(out)) {
			k, v, _ := strings.Cut(strings.TrimSpace(l), ": ")
			of[k], _ = strconv.Atoi(v)
		}
		t.Logf("%s: %d objects, %d MB", c.name, of["in-pack"], of["size-pack"]>>10)
		if of["in-pack"] < c.objects || of["size-pack"] < c.bytes>>10 || c.name == "medium" && of["size-pack"] > 50<<10 {
			t.Errorf("%s: %v", c.name, of)
		}
	}
}

// TestEdit: an edit leaves lines, and grows no file without bound.
func TestEdit(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	a, b := []byte(strings.Repeat("one line\n", 50)), []byte(strings.Repeat("another\n", 50))
	for range 2000 {
		if a = edit(r, a, b); len(a) == 0 || len(a) > 2*editedLimit {
			t.Fatal(len(a))
		}
	}
}

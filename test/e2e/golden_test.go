package e2e

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts in testdata")

// cmdGolden compares what the last command told, its stderr or its stdout, with the transcript testdata/NAME.golden: golden NAME [stdout]. Both hold the words of
// gitd; what differs from run to run is normalised. -update writes the transcripts.
func cmdGolden(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) == 2 && args[1] != "stdout" || len(args) > 2 {
		ts.Fatalf("usage: golden NAME [stdout]")
	}
	got := normalise(ts.ReadFile(append(args, "stderr")[1]))
	file := filepath.Join(root, "test", "e2e", "testdata", args[0]+".golden")
	if *update {
		ts.Check(os.WriteFile(file, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	ts.Check(err)
	if got != string(want) {
		ts.Fatalf("not the transcript %s (go test -update rewrites it); got\n%s\nwant\n%s", file, got, want)
	}
}

// varying is what differs from run to run, and what stands for it. The order counts.
var varying = []struct {
	what  *regexp.Regexp
	place string
}{
	{regexp.MustCompile(`sha256:[0-9a-f]{4,64}`), "sha256:DIGEST"},
	{regexp.MustCompile(`\b127\.0\.0\.1:[0-9]+`), "HOST:PORT"},
	{regexp.MustCompile(`\blocalhost:[0-9]+`), "localhost:PORT"},
	{regexp.MustCompile(`\b[0-9a-f]{7}\.\.[0-9a-f]{7}\b`), "HASH..HASH"},
	{regexp.MustCompile(`\(main [0-9a-f]{7},`), "(main HASH,"},
	{regexp.MustCompile(`back to (v[0-9]+) \([0-9a-f]{7}\)`), "back to $1 (HASH)"},
	{regexp.MustCompile(`\b[0-9.]+ (bytes|[KMGT]iB)`), "SIZE"},
	{regexp.MustCompile(`\b([0-9]+m)?[0-9.]+ ?m?s\b`), "TIME"},
	{regexp.MustCompile(`\b[0-9]+\.[0-9]+(\.[0-9]+)+\b`), "VERSION"},
}

// slow is what a push tells when it takes long.
var slow = regexp.MustCompile(`… \w+, .* so far|Waiting for the builder image`)

// normalise makes of what a command told what is the same in every run: the words.
func normalise(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if slow.MatchString(line) {
			continue
		}
		for _, v := range varying {
			line = v.what.ReplaceAllString(line, v.place)
		}
		lines = append(lines, line+"\n")
	}
	return strings.Join(lines, "")
}

// Command unchanged says which of the test packages must run, because the digest of all that their result depends on is not one that passed on this machine in the last
// days. go test has such a cache too, but what it knows of a test are files by their time, which is new in each clone, and no program that a test starts.
//
//	unchanged list [-all] [-settings TEXT] PACKAGE…   print those that must run, and tell of the others
//	unchanged passed RESULTS                          note those that passed, by gotestsum's file
//
// It is for the packages of buildpacks/ alone: they run the tools of a language on small apps, with packages from public registries, and know nothing of the server.
// Between list and passed, the digests are in bin/results/unchanged.json.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// kept is how long a result counts: registries, which no digest covers, change.
const kept = 7 * 24 * time.Hour

// noted is where list leaves the digests that passed needs.
const noted = "bin/results/unchanged.json"

// taken is what list has found.
type taken struct {
	Settings string            `json:"settings"`
	Digests  map[string]string `json:"digests"` // of packages that must run, by their import path
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "unchanged:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 && args[0] == "passed" {
		return passed(args[1], time.Now())
	}
	flags := flag.NewFlagSet("unchanged list", flag.ContinueOnError)
	all := flags.Bool("all", false, "run all, whatever has passed")
	settings := flags.String("settings", "", "what else the results depend on: go test's flags")
	if len(args) == 0 || args[0] != "list" {
		return fmt.Errorf("usage: unchanged list [-all] [-settings TEXT] PACKAGE…, unchanged passed RESULTS")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	return list(flags.Args(), *settings, *all)
}

func list(packages []string, settings string, all bool) error {
	r, err := openRecords()
	if err != nil {
		return err
	}
	digests, err := digestAll(packages, settings)
	if err != nil {
		return err
	}
	var same []string
	for _, p := range packages {
		if d := digests[p]; d != "" && !all {
			if at, ok := r.passed(d, time.Now()); ok {
				same = append(same, fmt.Sprintf("       %s (%s, %s)", p, d[:12], at.Format(time.DateTime)))
				delete(digests, p)
				continue
			}
		}
		fmt.Println(p)
	}
	if len(same) > 0 {
		fmt.Fprintf(os.Stderr, "-----> Unchanged since they passed here, within %d days; ALL=1 runs them too\n%s\n", int(kept.Hours()/24), strings.Join(same, "\n"))
	}
	b, err := json.MarshalIndent(taken{settings, digests}, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(noted), 0o755); err != nil {
		return err
	}
	return os.WriteFile(noted, b, 0o644)
}

// passed notes the packages whose tests all passed at the first try and that did not change meanwhile.
func passed(results string, now time.Time) error {
	b, err := os.ReadFile(noted)
	if err != nil {
		return fmt.Errorf("%w: unchanged list comes first", err)
	}
	var before taken
	if err := json.Unmarshal(b, &before); err != nil {
		return fmt.Errorf("%s: %w", noted, err)
	}
	f, err := os.Open(results)
	if err != nil {
		return err
	}
	defer f.Close()
	good, err := firstTry(f)
	if err != nil {
		return fmt.Errorf("%s: %w", results, err)
	}
	var candidates []string
	for p := range before.Digests {
		if good[p] {
			candidates = append(candidates, p)
		}
	}
	after, err := digestAll(candidates, before.Settings)
	if err != nil {
		return err
	}
	r, err := openRecords()
	if err != nil {
		return err
	}
	for _, p := range candidates {
		if after[p] == before.Digests[p] {
			if err := r.note(p, after[p], now); err != nil {
				return err
			}
		}
	}
	return r.sweep(now)
}

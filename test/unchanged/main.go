// Command unchanged says which tests need not run, because the digest of all that their result depends on is one that passed on this machine in the last days. go test has
// such a cache too, but what it knows of a test are files by their time, which is new in each clone, and no program that a test starts.
//
//	unchanged packages [-all] [-settings TEXT] RESULTS PACKAGE…   print those packages that must run, and tell of the others
//	unchanged scripts [-all] [-settings TEXT] RESULTS             print what go test is to skip, and tell of it
//	unchanged passed RESULTS                                      note what passed, by gotestsum's file
//
// It is for buildpacks alone: their packages, whose tests run the tools of a language on small apps and know nothing of the server; and the scripts that push an example in
// a language, but those of examples that most other scripts push. Between the commands, the digests are beside RESULTS.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// kept is how long a result counts: registries, which no digest covers, change.
const kept = 7 * 24 * time.Hour

// taken is what packages and scripts leave for passed.
type taken struct {
	Settings string            `json:"settings"`
	Digests  map[string]string `json:"digests"` // of what must run, by package or script
}

// notes is the file of a taken.
func notes(results string) string { return strings.TrimSuffix(results, ".json") + "-digests.json" }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "unchanged:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	usage := errors.New("usage: unchanged packages [-all] [-settings TEXT] RESULTS PACKAGE…, unchanged scripts [-all] [-settings TEXT] RESULTS, unchanged passed RESULTS")
	if len(args) == 0 {
		return usage
	}
	flags := flag.NewFlagSet("unchanged", flag.ContinueOnError)
	all := flags.Bool("all", false, "run all, whatever has passed")
	settings := flags.String("settings", "", "what else the results depend on: go test's flags")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return usage
	}
	results, packages := flags.Arg(0), flags.Args()[1:]
	switch args[0] {
	case "packages":
		same, err := compare(results, packages, *settings, *all)
		for _, p := range packages {
			if err == nil && !slices.Contains(same, p) {
				fmt.Println(p)
			}
		}
		return err
	case "scripts":
		same, err := compare(results, scripts, *settings, *all)
		if err == nil && len(same) > 0 {
			fmt.Printf("^TestScripts$/^(%s)$\n", strings.ReplaceAll(strings.Join(same, "|"), scriptTest, ""))
		}
		return err
	case "passed":
		return passed(results, time.Now())
	}
	return usage
}

// compare returns those whose digest has passed, tells of them, and notes the digests of the others.
func compare(results string, names []string, settings string, all bool) (same []string, err error) {
	r, err := openRecords()
	if err != nil {
		return nil, err
	}
	digests, err := digestAll(names, settings)
	if err != nil {
		return nil, err
	}
	var told strings.Builder
	for _, n := range slices.Sorted(maps.Keys(digests)) {
		if at, ok := r.passed(digests[n], time.Now()); ok && !all {
			same = append(same, n)
			fmt.Fprintf(&told, "       %s (%s, %s)\n", n, digests[n][:12], at.Format(time.DateTime))
			delete(digests, n)
		}
	}
	if len(same) > 0 {
		fmt.Fprintf(os.Stderr, "-----> Unchanged since they passed here, within %d days; ALL=1 runs them too\n%s", int(kept.Hours()/24), told.String())
	}
	b, err := json.MarshalIndent(taken{settings, digests}, "", "\t")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(results), 0o755); err != nil {
		return nil, err
	}
	return same, os.WriteFile(notes(results), b, 0o644)
}

// passed notes what passed at the first try and did not change meanwhile.
func passed(results string, now time.Time) error {
	b, err := os.ReadFile(notes(results))
	if err != nil {
		return err
	}
	var before taken
	if err := json.Unmarshal(b, &before); err != nil {
		return fmt.Errorf("%s: %w", notes(results), err)
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
	maps.DeleteFunc(before.Digests, func(name, _ string) bool { return !good[name] })
	after, err := digestAll(slices.Collect(maps.Keys(before.Digests)), before.Settings)
	if err != nil {
		return err
	}
	r, err := openRecords()
	if err != nil {
		return err
	}
	for name, digest := range before.Digests {
		if after[name] == digest {
			if err := r.note(name, digest, now); err != nil {
				return err
			}
		}
	}
	return r.sweep(now)
}

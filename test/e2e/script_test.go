package e2e

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// atOnce is how many scripts run at the same time, on two processors or more: they wait most of the time, for windows, pauses and checks. On a
// cluster it is five, for its own parts take much of the processors.
func atOnce() string {
	if theCluster != nil {
		return "5"
	}
	return "6"
}

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.list"); f != nil && f.Value.String() != "" {
		os.Exit(m.Run())
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	if !isSet("test.parallel") {
		if err := flag.Set("test.parallel", atOnce()); err != nil {
			panic(err)
		}
	}
	sweep()
	code := m.Run()
	if err := os.RemoveAll(filepath.Dir(gitd)); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
	}
	os.Exit(code)
}

func isSet(name string) bool {
	found := false
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// TestScripts runs every script in testdata; those in testdata/cluster where there is a cluster.
func TestScripts(t *testing.T) {
	dir := "testdata"
	if theCluster != nil {
		dir = filepath.Join(dir, "cluster")
	}
	testscript.Run(t, params(t, dir))
}

// TestAlone runs the scripts that want the cluster for themselves, one after the other: they take parts of it down, or have certificates of half a minute, for whose renewal an ingress
// that takes the changes of other scripts is too slow.
func TestAlone(t *testing.T) {
	if theCluster != nil {
		testscript.RunT(oneByOne{t}, params(t, filepath.Join("testdata", "cluster", "alone")))
	}
}

func params(t *testing.T, dir string) testscript.Params {
	return testscript.Params{
		Files:               scripts(t, dir),
		Setup:               newWorld,
		Cmds:                commands(),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	}
}

// longest are the scripts that take a minute or more, the longest at the end.
var longest = []string{
	// On this machine.
	"functions", "domains", "kill9_live", "settings", "packages", "function_scripts", "ends_after_start", "function_go", "example_bun", "scale_zero", "blue_green", "example_java", "attack_full_disk",
	// On a cluster.
	"figures", "workers", "steps", "jobs", "events", "kill9", "failures",
}

// scripts are the files of a folder, those of longest at the end: go test starts the last one first, and a long one that starts late is waited for.
func scripts(t *testing.T, dir string) []string {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in %s: %v", dir, err)
	}
	at := func(file string) int { return slices.Index(longest, strings.TrimSuffix(filepath.Base(file), ".txtar")) }
	slices.SortStableFunc(files, func(a, b string) int { return cmp.Compare(at(a), at(b)) })
	return files
}

// oneByOne is a test whose parts do not run at the same time.
type oneByOne struct{ *testing.T }

func (o oneByOne) Parallel() {}

func (o oneByOne) Run(name string, f func(testscript.T)) {
	o.T.Run(name, func(t *testing.T) { f(oneByOne{t}) })
}

func (o oneByOne) Verbose() bool { return testing.Verbose() }

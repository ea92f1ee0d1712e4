package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// atOnce is how many scripts run at the same time, on two processors or more: they wait most of the time, for windows, pauses and checks. On a
// cluster it is three, for its own parts take much of the processors.
func atOnce() string {
	if theCluster != nil {
		return "3"
	}
	return "4"
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
	testscript.Run(t, params(dir))
}

// TestAlone runs the scripts that want the cluster for themselves, since they take parts of it down or measure, one after the other.
func TestAlone(t *testing.T) {
	if theCluster != nil {
		testscript.RunT(oneByOne{t}, params(filepath.Join("testdata", "cluster", "alone")))
	}
}

func params(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		Setup:               newWorld,
		Cmds:                commands(),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	}
}

// oneByOne is a test whose parts do not run at the same time.
type oneByOne struct{ *testing.T }

func (o oneByOne) Parallel() {}

func (o oneByOne) Run(name string, f func(testscript.T)) {
	o.T.Run(name, func(t *testing.T) { f(oneByOne{t}) })
}

func (o oneByOne) Verbose() bool { return testing.Verbose() }

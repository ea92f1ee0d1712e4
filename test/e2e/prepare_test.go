package e2e

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// What prepare leaves for the scripts.
var (
	root     string // the top of the repository
	gitd     string // the program under test, built with the race detector
	partsDir string // the programs that are shipped beside it
)

// prepare builds the program under test and makes the builder image, once for all scripts.
func prepare() error {
	if os.Geteuid() != 0 {
		return errors.New("these tests start containers: run them as root")
	}
	for _, tool := range []string{"git", "ssh", "ssh-keygen", "runc", "setpriv"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: apt-get install git openssh-client runc util-linux", tool)
		}
	}
	var err error
	if root, err = filepath.Abs("../.."); err != nil {
		return err
	}
	if theCluster, err = findCluster(); err != nil {
		return err
	}
	bin, unlock, err := ownBin()
	if err != nil {
		return err
	}
	defer unlock()
	built := filepath.Join(bin, "gitd")
	race := strings.Fields(cmp.Or(os.Getenv("GITD_RACE"), "-race")) // make says what goes without the detector
	build := func(out, program string, more ...string) []string {
		return slices.Concat([]string{"build"}, race, more, []string{"-ldflags=-w", "-o", out, program})
	}
	if err := step("building gitd with the race detector", "go", build(built, "./cmd/gitd", "-tags", "testclock")...); err != nil {
		return err
	}
	// A copy of our own: another run of these tests in this checkout may build another gitd meanwhile.
	dir, err := scratch()
	if err != nil {
		return err
	}
	gitd = filepath.Join(dir, "gitd")
	if err := exec.Command("cp", built, gitd).Run(); err != nil {
		return fmt.Errorf("copy %s: %w", built, err)
	}
	parts := os.Getenv("GITD_PARTS")
	if parts == "" {
		parts = filepath.Join(root, "bin", "parts")
		if err := step("building its parts", "make", "--no-print-directory", "parts"); err != nil {
			return err
		}
	}
	helper := filepath.Join(bin, "gitd-helper")
	if err := step("building gitd-helper with the race detector", "go", build(helper, "./cmd/gitd-helper")...); err != nil {
		return err
	}
	partsDir = filepath.Join(dir, "parts")
	for _, copied := range [][]string{{"cp", "-rL", parts, partsDir}, {"cp", helper, partsDir}} {
		if err := exec.Command(copied[0], copied[1:]...).Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(copied, " "), err)
		}
	}
	return step("making the builder image, if there is none yet", gitd, "builder", "create")
}

// ownBin is where programs are kept from run to run, one folder for each checkout: an unchanged program need not be linked again. It is locked: another run in this checkout, as that
// on a cluster beside this machine's scripts, waits.
func ownBin() (dir string, unlock func(), err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", nil, err
	}
	dir = filepath.Join(cache, "gitd-e2e", fmt.Sprintf("%x", sha256.Sum256([]byte(root)))[:12])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return "", nil, err
	}
	return dir, func() { _ = f.Close() }, syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
}

// step runs a command at the top of the repository, with its output shown.
func step(what, name string, args ...string) error {
	fmt.Fprintf(os.Stderr, "e2e: %s\n", what)
	c := exec.Command(name, args...)
	c.Dir = root
	c.Env = append(serverEnv(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -buildvcs=false"))
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// serverEnv is the environment of gitd itself: that of this test, for the host's proxies, certificates and mirrors are
// handed on to builds.
func serverEnv() []string {
	env := []string{"GITD_PARTS=" + partsDir, "GITD_TIMINGS=1"}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "GIT_") && !strings.HasPrefix(kv, "GITD_") {
			env = append(env, kv)
		}
	}
	return env
}

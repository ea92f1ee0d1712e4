package sandbox

import (
	"testing"
)

func TestBuild(t *testing.T) {
	f := newFixture(t)
	s := script("echo hello from the build", "mkdir -p $L/bin", "echo one > $L/bin/file", "echo '[types]\nlaunch = true' > $L/bin.toml")
	r, log := f.mustBuild(s)
	t.Logf("%+v\n%s", r, log)
	r, log = f.mustBuild(s)
	t.Logf("%+v\n%s", r, log)
}

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/registry"
)

func wantLines(t *testing.T, log string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(log, l) {
			t.Errorf("the log lacks %q:\n%s", l, log)
		}
	}
}

func TestBuild(t *testing.T) {
	f := newFixture(t)
	s := script("echo hello from the build", "mkdir -p $L/bin $L/big", "echo one > $L/bin/file", "echo big > $L/big/file",
		`printf '[types]\nlaunch = true\n' > $L/bin.toml`, `printf '[types]\nlaunch = true\n' > $L/big.toml`)
	first, log := f.mustBuild(s)
	wantLines(t, log, "-----> Detecting: Script (build.sh)\n", "-----> Building with test/script 0.1.0\n", "       hello from the build\n",
		"-----> Image hello@"+first.Digest[:11]+"… (0 layers reused, 7 added, ")
	// On a busy machine it tells what takes long.
	if n := strings.Count(log, "\n") - strings.Count(log, " so far\n"); n != 4 {
		t.Errorf("%d lines, want 4: the lifecycle's noise is in the log:\n%s", n, log)
	}
	want := []app.Process{{Type: "web", Command: []string{"sh"}, Args: []string{"-c", "exec server"}, Default: true}, {Type: "worker", Command: []string{"work"}}}
	if fmt.Sprint(first.Processes) != fmt.Sprint(want) {
		t.Errorf("processes %v, want %v", first.Processes, want)
	}
	if fmt.Sprint(first.Buildpacks) != "[{test/script 0.1.0}]" || first.Repository != "hello" || first.AddedBytes < 1000 {
		t.Errorf("%+v", first)
	}
	img, err := f.registry.Image("hello", first.Digest)
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(c.Config.Entrypoint, " ") != "/cnb/process/web" {
		t.Errorf("entrypoint %v", c.Config.Entrypoint)
	}

	second, log := f.mustBuild(s)
	if second.Digest != first.Digest || second.LayersReused != 7 || second.LayersAdded != 0 {
		t.Errorf("the same source made another image: %+v", second)
	}
	wantLines(t, log, "(7 layers reused, 0 added)")

	s["build.sh"] = strings.Replace(s["build.sh"], "echo one", "echo two", 1)
	third, _ := f.mustBuild(s)
	if third.Digest == first.Digest || third.LayersAdded != 2 || third.LayersReused != 5 { // bin and the source itself
		t.Errorf("a change of one layer: %+v", third)
	}
	layer := fileInImage(t, f.registry, third.Digest, "layers/test_script/bin/file")
	if layer != "two\n" {
		t.Errorf("the image has %q", layer)
	}
}

// TestReproducible checks that neither time nor address nor place is in an image.
func TestReproducible(t *testing.T) {
	s := script("mkdir -p $L/bin", "echo one > $L/bin/file", `printf '[types]\nlaunch = true\n' > $L/bin.toml`)
	f, g := newFixture(t), newFixture(t)
	g.opts.Builder.RunImage = f.opts.Builder.RunImage
	g2, err := New(context.Background(), g.opts)
	if err != nil {
		t.Fatal(err)
	}
	g.Engine = g2
	a, _ := f.mustBuild(s)
	b, _, err := g.build(context.Background(), s, func(r *build.Request) { r.Version = 7 })
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest != b.Digest {
		t.Errorf("two servers made %s and %s of the same source", a.Digest, b.Digest)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("GOPROXY", "http://mirror.invalid")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	f := newFixture(t)
	s := script("env", "id", "touch $BP_CACHE_MOUNT/kept && ls -l /gitd-cache", "echo bundle:; ls $SSL_CERT_FILE",
		"touch /platform/x 2>/dev/null || echo platform is read-only", "ls /cnb /layers",
		"echo > /home/cnb/x && echo > /var/tmp/x && cat /home/cnb/.profile && touch /home/cnb/.profile",
		"set -- $(ls -l /home/cnb/.profile) && echo $1 home && set -- $(ls -ld /var/tmp) && echo $1 var")
	_, log, err := f.build(context.Background(), s, func(r *build.Request) { r.Env = map[string]string{"BP_COLOUR": "blue green"} })
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	wantLines(t, log, "BP_COLOUR=blue green", "GOPROXY=http://mirror.invalid", "BP_CACHE_MOUNT=/gitd-cache", fmt.Sprintf("uid=%d(cnb) gid=%[1]d(cnb)", f.host.UID(0, "hello")),
		"platform is read-only", "of the image", "-rwxr-xr-x home", "drwxrwxrwt var", "NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt")
	for _, bad := range []string{"secret", "CNB_REGISTRY_AUTH", "IMAGE_SECRET", f.registry.Host(), f.opts.Dir} {
		if strings.Contains(log, bad) {
			t.Errorf("the build sees %q:\n%s", bad, log)
		}
	}
	_, _, err = f.build(context.Background(), s, func(r *build.Request) { r.Env = map[string]string{"../x": "1"} })
	apptest.WantError(t, err, app.CodeInvalidInput, "../x")
}

// TestNoReach is the hostile build: it looks for what is not its own.
func TestNoReach(t *testing.T) {
	f := newFixture(t)
	if err := os.WriteFile(filepath.Join(f.opts.Dir, "secret"), []byte("server-secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(f.registry.Host())
	s := script("cat "+f.opts.Dir+"/secret && echo REACHED",
		"ls /gitd-app && echo REACHED",
		"cat /proc/1/root"+f.opts.Dir+"/secret && echo REACHED",
		"[ -w / ] && echo REACHED", "touch /cnb/lifecycle/lifecycle && echo REACHED",
		"exec 3<>/dev/tcp/127.0.0.1/"+port+" && echo REACHED",
		"ls /proc/[0-9]*/exe | head -50",
		"echo tried; true")
	s["build.sh"] = strings.Replace(s["build.sh"], "exec 3<>", "( exec 3<>", 1)
	s["build.sh"] = strings.Replace(s["build.sh"], port+" && echo REACHED", port+" && echo REACHED )", 1)
	_, log := f.mustBuild(s)
	wantLines(t, log, "tried")
	if strings.Contains(log, "REACHED") || strings.Contains(log, "server-secret") {
		t.Errorf("the build got out:\n%s", log)
	}
}

func TestHostileLayers(t *testing.T) {
	f := newFixture(t)
	// Links in the layers that point at the server's files: the exporter is chrooted, and copies links as links.
	r, _ := f.mustBuild(script("mkdir -p $L/x", "ln -s /etc/shadow $L/x/shadow", "ln -s "+f.opts.Dir+" $L/x/dir", `printf '[types]\nlaunch = true\n' > $L/x.toml`))
	if got := fileInImage(t, f.registry, r.Digest, "layers/test_script/x/shadow"); got != "-> /etc/shadow" {
		t.Errorf("the image has %q", got)
	}
	_, _, err := f.build(context.Background(), script("rm -f /layers/group.toml", "ln -s "+f.opts.Dir+" /layers/group.toml"), nil)
	apptest.WantError(t, err, app.CodeExportFailed)
	_, _, err = f.build(context.Background(), script("echo '[[[' > $L/x.toml", "mkdir $L/x"), nil)
	if err == nil {
		t.Error("malformed layer metadata was taken")
	}
	f.mustBuild(script("echo fine again"))
}

func TestDetectFails(t *testing.T) {
	f := newFixture(t)
	_, log, err := f.build(context.Background(), source{"README": "x"}, nil)
	apptest.WantError(t, err, app.CodeDetectFailed, "no language detected: looked for other.txt, build.sh")
	if strings.Contains(log, "=====") {
		t.Errorf("noise:\n%s", log)
	}
	_, log, err = f.build(context.Background(), source{"broken.txt": "x"}, nil)
	apptest.WantError(t, err, app.CodeDetectFailed, "detection by test/other 1.0 failed: broken.txt: line 1: this is not a list")
	wantLines(t, log, "broken.txt: line 1")
}

// TestDetectErrorIsFinal: what a buildpack says is wrong ends the build, although another group wants the source.
func TestDetectErrorIsFinal(t *testing.T) {
	f := newFixture(t)
	s := script("echo BUILT", "sleep 1000")
	s["wrong.txt"] = "x"
	_, log, err := f.build(context.Background(), s, nil)
	apptest.WantError(t, err, app.CodeDetectFailed, "detection by test/other 1.0 failed: wrong.txt: line 2: unexpected end")
	wantLines(t, log, "       wrong.txt: line 2: unexpected end\n")
	if strings.Contains(log, "Detecting:") || strings.Contains(log, "Image hello") {
		t.Errorf("it went on:\n%s", log)
	}
	_, _, err = f.build(context.Background(), source{"wrong.txt": "x"}, nil)
	apptest.WantError(t, err, app.CodeDetectFailed, "detection by test/other 1.0 failed: wrong.txt: line 2: unexpected end")
}

func TestBuildFails(t *testing.T) {
	f := newFixture(t)
	_, log, err := f.build(context.Background(), source{"build.sh": "echo compiling\necho './main.go:12:2: undefined: foo'\nexit 3\n"}, nil)
	apptest.WantError(t, err, app.CodeBuildFailed, "build by test/script 0.1.0 failed: ./main.go:12:2: undefined: foo")
	wantLines(t, log, "       ./main.go:12:2: undefined: foo")
	if strings.Contains(log, "Image hello") {
		t.Errorf("an image:\n%s", log)
	}
	if tags, _ := f.registry.Tags("hello"); len(tags) > 0 {
		t.Errorf("tags %v", tags)
	}
	f.mustBuild(script("echo fine"))
}

func TestLimits(t *testing.T) {
	f := newFixture(t)
	f.diskInterval = 20 * time.Millisecond
	f.sessions.Quiet = 200 * time.Millisecond
	for _, c := range []struct {
		what   string
		script string
		limits build.Limits
		words  []string
	}{
		{"memory", "echo start\nhead -c 300000000 /dev/zero | tail -c 300000000 > /dev/null\n", build.Limits{Memory: 128 << 20}, []string{"memory limit of 128 MiB", "build by test/script"}},
		{"time", "sleep 1000\n", build.Limits{Time: 2 * time.Second}, []string{"time limit of 2s", "in the build"}},
		{"disk", "i=0; while :; do i=$((i+1)); head -c 8000000 /dev/zero > $L/f$i; done\n", build.Limits{Disk: 64 << 20}, []string{"disk limit of 64 MiB"}},
		{"disk, at home", fill("/home/cnb"), build.Limits{Disk: 64 << 20, Time: time.Minute}, []string{"disk limit of 64 MiB"}},
		{"disk, in /var/tmp", fill("/var/tmp"), build.Limits{Disk: 64 << 20, Time: time.Minute}, []string{"disk limit of 64 MiB"}},
		{"one file", "head -c 80000000 /dev/zero > /home/cnb/f || exit 1\n", build.Limits{Disk: 64 << 20}, []string{"disk limit of 64 MiB"}},
		{"files", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); : > f$i; done\nsleep 1000\n", build.Limits{Files: 2000}, []string{"limit of 2000 files"}},
		{"processes", "i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done; echo all\n", build.Limits{PIDs: 32}, []string{"limit of 32 processes"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, log, err := f.build(context.Background(), source{"build.sh": c.script}, func(r *build.Request) { r.Limits = c.limits })
			if app.CodeOf(err) != app.CodeLimitExceeded {
				t.Log(log)
			}
			apptest.WantError(t, err, app.CodeLimitExceeded, c.words...)
		})
	}
	t.Run("full disk at the start", func(t *testing.T) {
		f.free = func(string) (disk.Space, error) { return disk.Space{Bytes: 100 << 20}, nil }
		_, _, err := f.build(context.Background(), script(), nil)
		apptest.WantError(t, err, app.CodeLimitExceeded, "nearly full", "100 MiB free, 512 MiB needed")
	})
	t.Run("full disk on the way", func(t *testing.T) {
		calls := 0
		f.free = func(string) (disk.Space, error) {
			if calls++; calls > 1 {
				return disk.Space{Bytes: 100 << 20}, nil
			}
			return disk.Space{Bytes: 1 << 40}, nil
		}
		_, _, err := f.build(context.Background(), source{"build.sh": "sleep 1000"}, nil)
		apptest.WantError(t, err, app.CodeLimitExceeded, "nearly full")
	})
	f.free = disk.Free
	f.mustBuild(script("echo fine again"))
}

// fill writes 128 MB and waits.
func fill(dir string) string {
	return "i=0; while [ $i -lt 16 ]; do i=$((i+1)); head -c 8000000 /dev/zero > " + dir + "/f$i; done\nsleep 1000\n"
}

func TestCancel(t *testing.T) {
	f := newFixture(t)
	cause := app.Errorf(app.CodeSuperseded, "", "replaced by a newer push")
	ctx, cancel := context.WithCancelCause(context.Background())
	log := &apptest.Buffer{}
	ended := make(chan error, 1)
	go func() {
		_, err := f.Build(ctx, build.Request{App: "hello", Version: 1, Source: source{"build.sh": "echo started\nsleep 1000\n"}, Log: app.NewLog(log)})
		ended <- err
	}()
	apptest.Eventually(t, time.Minute, "the build has started", func() bool { return strings.Contains(log.String(), "started") })
	next := make(chan error, 1)
	go func() { // waits for its turn
		_, err := f.Build(context.Background(), build.Request{App: "hello", Version: 2, Source: script("echo second"), Log: app.NewLog(log)})
		next <- err
	}()
	apptest.Eventually(t, time.Minute, "the second build waits", func() bool { return strings.Contains(log.String(), "waiting for the build before") })
	cancel(cause)
	if err := <-ended; !errors.Is(err, cause) || app.CodeOf(err) != app.CodeSuperseded {
		t.Errorf("got %v", err)
	}
	if err := <-next; err != nil {
		t.Errorf("the second build: %v\n%s", err, log.String())
	}
	done, stop := context.WithCancel(context.Background())
	stop()
	if _, _, err := f.build(done, script(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestProgress(t *testing.T) {
	f := newFixture(t)
	f.sessions.Quiet = 20 * time.Millisecond
	_, log := f.mustBuild(script("sleep 1"))
	wantLines(t, log, "       … build, ")
}

func TestInvalidApp(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"", "../x", "A", "hello.git", "/hello"} {
		if _, _, err := f.build(context.Background(), script(), func(r *build.Request) { r.App = name }); app.CodeOf(err) != app.CodeInvalidName {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// fileInImage returns a file of an image; "-> TARGET" for a symbolic link.
func fileInImage(t *testing.T, r *registry.Registry, digest, name string) string {
	t.Helper()
	img, err := r.Image("hello", digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers[1:] { // the first is the run image's, and no tar file here
		if s, ok := fileInLayer(t, l, name); ok {
			return s
		}
	}
	t.Fatalf("the image has no %s", name)
	return ""
}

package lifecycle

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build"
)

const detection = `Starting detector...
Parsing inputs...
Executing command...
Timer: Detector started at 2026-01-01T00:00:00Z
Checking for match against descriptor: {linux   []}
======== Output: gitd/node@0.1.0 ========
gitd-looked-for: package.json
======== Output: gitd/procfile@0.1.0 ========
gitd-looked-for: Procfile
======== Results ========
fail: gitd/node@0.1.0
skip: gitd/procfile@0.1.0
======== Output: gitd/go@0.1.0 ========
gitd-detect: Go (go.mod, go 1.26, 5%!)(MISSING)
======== Output: gitd/procfile@0.1.0 ========
gitd-detect: Procfile
======== Results ========
pass: gitd/go@0.1.0
pass: gitd/procfile@0.1.0
Resolving plan... (try #1)
gitd/go       0.1.0
Timer: Detector ran for 1ms and ended at 2026-01-01T00:00:00Z

`

// read feeds text to an output in pieces of n bytes.
func read(text string, n int, detected func()) (*Output, string) {
	var log bytes.Buffer
	o := NewOutput(app.NewLog(&log), "MARK", detected)
	for b := []byte(text); len(b) > 0; b = b[min(n, len(b)):] {
		_, _ = o.Write(b[:min(n, len(b))])
	}
	o.Flush()
	return o, log.String()
}

func TestOutputOfDetection(t *testing.T) {
	for _, n := range []int{1, 7, 1 << 20} {
		calls := 0
		o, log := read(detection+"MARK detected 0\nRunning build for buildpack gitd/go@0.1.0\nTimer: Builder started at x\n# hello\n\n\x1b[31mred\x1b[0m\nMARK detected 0\n", n, func() { calls++ })
		if calls != 1 || !o.building || o.buildpack != "gitd/go@0.1.0" {
			t.Errorf("calls %d, %+v", calls, o)
		}
		if got := o.Summary([]string{"gitd/go@0.1.0", "gitd/procfile@0.1.0"}); got != "Go (go.mod, go 1.26, 5%), Procfile" {
			t.Errorf("summary %q", got)
		}
		if got := o.Summary([]string{"other/x@1.2"}); got != "other/x 1.2" {
			t.Errorf("summary of a foreign buildpack %q", got)
		}
		if want := "       # hello\n\n       \x1b[31mred\x1b[0m\n       MARK detected 0\n"; log != want {
			t.Errorf("log %q, want %q", log, want)
		}
	}
}

func TestReason(t *testing.T) {
	for _, c := range []struct{ output, want string }{
		{"# app\n./main.go:12:2: undefined: foo\n", "./main.go:12:2: undefined: foo"},
		{"npm error code ENOENT\nnpm error 404 Not Found - GET /leftpadd\nnpm error\nnpm error A complete log of this run can be found in: /x/debug-0.log\n", "npm error 404 Not Found - GET /leftpadd"},
		{"Traceback\n  File \"x.py\"\nModuleNotFoundError: No module named 'flask'\n\n^^^\n", "ModuleNotFoundError: No module named 'flask'"},
		{"ERROR: Could not find a version that satisfies the requirement nope\nfetching\ndone\n", "ERROR: Could not find a version that satisfies the requirement nope"},
		{"one\ntwo\n", "two"},
		{"./main.go:12:2: undefined: foo\ngitd-error: go build failed (exit status 1)\n", "./main.go:12:2: undefined: foo"},
		{"one\ngitd-error: go build failed (exit status 1)\n", "go build failed (exit status 1)"},
		{"error: one\ngitd-error: the Procfile has no web process\n", "the Procfile has no web process"},
		{"", ""},
		{strings.Repeat("error ", 100) + "\n", strings.Repeat("error ", 49) + "err…"},
	} {
		o, _ := read("MARK detected 0\n"+c.output+"ERROR: failed to build: exit status 1\n", 4096, func() {})
		if got := o.reason(); got != c.want {
			t.Errorf("%q: got %q, want %q", c.output, got, c.want)
		}
	}
}

func TestFailure(t *testing.T) {
	limits := build.Limits{}.WithDefaults()
	for _, c := range []struct {
		what, output string
		exit         Exit
		code         app.Code
		message      string
	}{
		{"nothing detected, but nearly", "======== Output: gitd/procfile@1 ========\ngitd-nearest: package.json is in web/, not at the root\ngitd-nearest: Dockerfile is not used\n" + detection + "MARK detected 20\n", Exit{Code: 20}, app.CodeDetectFailed,
			"no language detected: package.json is in web/, not at the root; Dockerfile is not used; looked for package.json, Procfile"},
		{"nothing detected", detection + "MARK detected 20\n", Exit{Code: 20}, app.CodeDetectFailed, "no language detected: looked for package.json, Procfile"},
		{"a foreign builder", "======== Results ========\nfail: a/b@1\nfail: c/d@2\nERROR: No buildpack groups passed detection.\nMARK detected 20\n",
			Exit{Code: 20}, app.CodeDetectFailed, "no language detected: tried a/b 1, c/d 2"},
		{"an error of detect", "======== Output: a/b@1 ========\npackage.json: unexpected end\n======== Results ========\nerr:  a/b@1 (1)\nMARK detected 21\n",
			Exit{Code: 21}, app.CodeDetectFailed, "detection by a/b 1 failed: package.json: unexpected end"},
		{"what a buildpack says is wrong", "======== Output: a/b@1 ========\ngitd-error: package.json: line 1: unexpected end; fix it\n======== Results ========\nerr:  a/b@1 (1)\nfail: c/d@2\nMARK detected 20\n",
			Exit{Code: 20}, app.CodeDetectFailed, "detection by a/b 1 failed: package.json: line 1: unexpected end; fix it"},
		{"an error of no buildpack", "MARK detected 21\n", Exit{Code: 21}, app.CodeDetectFailed, "detection failed: exit status 21"},
		{"a broken builder", "ERROR: failed to read order\nMARK detected 22\n", Exit{Code: 22}, app.CodeDetectFailed, "detection failed: failed to read order"},
		{"no lifecycle", "sh: /cnb/lifecycle/detector: not found\nMARK detected 127\n", Exit{Code: 127}, app.CodeDetectFailed,
			"detection failed: the builder image has no lifecycle in /cnb/lifecycle, or no shell"},
		{"a buildpack", "MARK detected 0\nRunning build for buildpack a/b@1\nx.c:1:1: bad\nERROR: failed to build: exit status 1\n",
			Exit{Code: 51}, app.CodeBuildFailed, "build by a/b 1 failed: x.c:1:1: bad"},
		{"a silent buildpack", "MARK detected 0\nRunning build for buildpack a/b@1\n", Exit{Code: 51}, app.CodeBuildFailed, "build by a/b 1 failed: the buildpack gave no reason"},
		{"the lifecycle", "MARK detected 0\nERROR: failed to build: bad layer\n", Exit{Code: 52}, app.CodeBuildFailed, "build failed: failed to build: bad layer"},
		{"a signal", "MARK detected 0\n", Exit{Code: 137, Signal: "killed"}, app.CodeBuildFailed, "build failed: it was ended by a signal (killed)"},
		{"memory", "MARK detected 0\nRunning build for buildpack a/b@1\nKilled\n", Exit{Code: 51, OutOfMemory: true}, app.CodeLimitExceeded,
			"the build was killed at its memory limit of 2 GiB, in the build by a/b 1"},
		{"processes", "MARK detected 0\nsh: 1: Cannot fork\n", Exit{Code: 51}, app.CodeLimitExceeded, "the build was stopped at its limit of 2048 processes and threads"},
		{"a large file", "MARK detected 0\nwrite x: file too large\n", Exit{Code: 51}, app.CodeLimitExceeded, "the build was stopped at its disk limit of 8 GiB for a file, in the build"},
		{"a full disk", "MARK detected 0\nwrite x: no space left on device\n", Exit{Code: 51}, app.CodeLimitExceeded, "no space was left for the build, in the build"},
	} {
		t.Run(c.what, func(t *testing.T) {
			o, _ := read(c.output, 4096, func() {})
			err := Failure(c.exit, o, limits)
			apptest.WantError(t, err, c.code)
			if err.Error() != c.message {
				t.Errorf("got  %s\nwant %s", err, c.message)
			}
		})
	}
}

func TestStuck(t *testing.T) {
	o, _ := read("MARK detected 0\nsh: 1: Cannot fork\n", 4096, func() {})
	if !o.Stuck(-1) || o.Stuck(time.Hour) {
		t.Error("a build that could not fork")
	}
	o, _ = read("MARK detected 0\nsh: 1: Cannot fork\nbut it goes on\n", 4096, func() {})
	if o.Stuck(-1) {
		t.Error("a build that goes on")
	}
}

func TestPlatformAPI(t *testing.T) {
	for label, want := range map[string]string{
		"": "0.15",
		`{"platform":{"supported":["0.7","0.13","0.14"]}}`: "0.14",
		`{"platform":{"supported":["0.15","0.16"]}}`:       "0.15",
		`{"platform":{"supported":["0.8"]}}`:               "",
		`{`:                                                "",
	} {
		if got, err := PlatformAPI(label); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", label, got, err)
		}
	}
}

func TestPlatformEnv(t *testing.T) {
	host := map[string]string{"HTTP_PROXY": "http://proxy", "GOPROXY": "http://mirror", "HOME": "/root", "AWS_SECRET_ACCESS_KEY": "x", "UV_INDEX_URL": ""}
	env, err := PlatformEnv(map[string]string{"GOPROXY": "off", "BP_CACHE_MOUNT": "/etc"}, Places{"/bundle", "/cache", ""}, func(n string) (string, bool) { v, ok := host[n]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[string]string{"HTTP_PROXY": "http://proxy", "GOPROXY": "off", "BP_CACHE_MOUNT": "/cache", "SSL_CERT_FILE": "/bundle", "HOME": "", "AWS_SECRET_ACCESS_KEY": ""} {
		if env[n] != want {
			t.Errorf("%s is %q, want %q", n, env[n], want)
		}
	}
	if _, ok := env["UV_INDEX_URL"]; ok {
		t.Error("an empty variable of the host was passed on")
	}
	for _, bad := range []string{"", "A B", "../x", "A=B", "1A"} {
		if _, err := PlatformEnv(map[string]string{bad: "1"}, Places{}, func(string) (string, bool) { return "", false }); app.CodeOf(err) != app.CodeInvalidInput {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzOutput wants -fuzzminimizetime 20x: without, the fuzzer spends its first minute on making one input smaller, and shows nothing.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("======== Output: x@1 ========\ngitd-error: \x1b[31mbad\nERROR: y\nerr:  x@1 (1)\nMARK detected 0\ngitd-error: z (exit status 1)\n"), 3)
	f.Add([]byte(detection+"MARK detected 0\nhello\n"), 5)
	f.Add([]byte("======== Output: x ========\n%!(NOVERB)\nerr:  x (1)\nMARK detected 21\n"), 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		o, _ := read(string(b), max(1, n), func() {})
		if s := o.reason(); strings.ContainsAny(s, "\n\x1b") {
			t.Errorf("reason %q", s)
		}
		if err := Failure(Exit{Code: 21}, o, build.Limits{}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q", err)
		}
		if err := o.Refusal(); err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("refusal %q", err)
		}
		whole, _ := read(string(b), len(b)+1, func() {})
		if len(b) < 64<<10 && (whole.building != o.building || whole.reason() != o.reason()) { // longer lines are cut where the pieces are
			t.Errorf("in one piece %v %q, in pieces of %d %v %q", whole.building, whole.reason(), n, o.building, o.reason())
		}
	})
}

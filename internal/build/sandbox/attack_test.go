package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
	"github.com/gitd-io/gitd/internal/parts"
)

// The attack: a build replaces what the lifecycle wrote before it, or leaves files beside its layers, with texts that cost their reader
// gigabytes, or that never end. The reader is the server's own process on the build's behalf.
func TestAttack_LayerDescriptions(t *testing.T) {
	f := newFixture(t)
	var wide strings.Builder
	wide.WriteString("[" + strings.Repeat("a.", 50) + "a]\n")
	for i := 0; wide.Len() < wire.MaxDescription-20; i++ {
		fmt.Fprintf(&wide, "%x=1\n", i)
	}
	dots := "i=0; while [ $i -lt 4000 ]; do printf 'a.a.a.a.'; i=$((i+1)); done"
	for name, tt := range map[string]struct {
		script string
		code   app.Code
		words  string
	}{
		"Deep":  {"{ " + dots + "; echo 'a = 1'; } > /layers/group.toml", app.CodeBuildFailed, "what the build says of its layers cannot be read: /layers/group.toml: line 1: keys, tables"},
		"Large": {"head -c 5000000 /dev/zero > /layers/group.toml", app.CodeBuildFailed, "larger than 4194304 bytes"},
		"Pipe":  {"rm /layers/group.toml; mkfifo /layers/group.toml", app.CodeBuildFailed, "it is not a file"},
		"Wide":  {"cp wide /layers/group.toml", app.CodeLimitExceeded, "what the build left could not be read within its memory limit of 256 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			s := script("sleep 1", tt.script) // the detection's result has been read by then
			s["wide"] = wide.String()
			_, log, err := f.build(context.Background(), s, func(r *build.Request) { r.Limits = build.Limits{Memory: 256 << 20, Time: time.Minute} })
			if app.CodeOf(err) != tt.code {
				t.Log(log)
			}
			apptest.WantError(t, err, tt.code, tt.words)
			if took := time.Since(began); took > 40*time.Second {
				t.Errorf("after %v", took)
			}
		})
	}
	var self unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &self)
	if self.Maxrss > 512<<10 {
		t.Errorf("this process had %d MiB", self.Maxrss>>10)
	}
	f.mustBuild(script("echo fine"))
}

// The helper reads files that an app's code wrote. Where it is taken over, nothing of this machine's network but its registry answers it.
func TestAttack_HelperHasNoNetwork(t *testing.T) {
	f := newFixture(t)
	log := &apptest.Buffer{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	defer func() { cancel(); <-ended }()
	go func() {
		defer close(ended)
		_, _ = f.Build(ctx, build.Request{App: "hello", Version: 1, Source: source{"build.sh": "echo started\nsleep 1000\n"}, Log: app.NewLog(log)})
	}()
	apptest.Eventually(t, time.Minute, "the build has started", func() bool { return strings.Contains(log.String(), "started") })
	helpers := 0
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		name, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		status, _ := os.ReadFile("/proc/" + e.Name() + "/status")
		if !strings.HasPrefix(string(name), parts.Helper+"\x00") || !strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
			continue
		}
		helpers++
		ours, _ := os.Readlink("/proc/self/ns/net")
		if theirs, _ := os.Readlink("/proc/" + e.Name() + "/ns/net"); theirs == ours {
			t.Error("the helper is in this machine's network namespace")
		}
		table, _ := os.ReadFile("/proc/" + e.Name() + "/net/tcp")
		_, port, _ := net.SplitHostPort(f.registry.Host())
		if lines := strings.Split(strings.TrimSpace(string(table)), "\n"); !strings.Contains(string(table), ":"+asHex(port)+" ") {
			t.Errorf("the registry does not listen there:\n%s", lines)
		}
		groups, _ := os.ReadFile("/proc/" + e.Name() + "/cgroup")
		if !strings.Contains(string(groups), "-builds/build-hello-v1-") {
			t.Errorf("the helper's control groups:\n%s", groups)
		}
	}
	if helpers != 1 {
		t.Errorf("%d helpers", helpers)
	}
}

func asHex(port string) string {
	var n int
	_, _ = fmt.Sscan(port, &n)
	return fmt.Sprintf("%04X", n)
}

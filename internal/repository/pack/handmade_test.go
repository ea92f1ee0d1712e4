package pack

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// TestMain takes one pack from stdin where a test asks for it: the memory that it needs is measured in a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("GITD_TEST_INDEX") == "" {
		code := m.Run()
		if history.dir != "" {
			_ = os.RemoveAll(history.dir)
		}
		os.Exit(code)
	}
	var o Options
	if err := json.Unmarshal([]byte(os.Getenv("GITD_TEST_INDEX")), &o); err != nil {
		panic(err)
	}
	var a answer
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			a.Anonymous = max(a.Anonymous, memoryOf("RssAnon:"))
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	res, err := Index(context.Background(), bufio.NewReaderSize(os.Stdin, 64<<10), o)
	if err != nil {
		a.Error, a.Code = err.Error(), string(app.CodeOf(err))
	} else {
		a.Result = *res
	}
	close(stop)
	<-stopped
	a.Peak = memoryOf("VmHWM:")
	_ = json.NewEncoder(os.Stdout).Encode(a)
	os.Exit(0)
}

// memoryOf returns one of the kernel's figures about this process.
func memoryOf(name string) int64 {
	status, _ := os.ReadFile("/proc/self/status")
	for l := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(l, name); ok {
			kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// answer is what a process says that took in a pack.
type answer struct {
	Result      Result
	Error, Code string
	Peak        int64 // resident memory, at most
	Anonymous   int64 // the same without mapped files, sampled
}

// inProcess takes a pack in a process of its own.
func inProcess(t testing.TB, pack io.Reader, o Options) (a answer, c *exec.Cmd) {
	t.Helper()
	b, err := json.Marshal(struct { // functions are not passed on
		Dir, Repository string
		Limits          Limits
		Ignore          []string
		Workers         int
		NoSync          bool
	}{o.Dir, o.Repository, o.Limits, o.Ignore, o.Workers, o.NoSync})
	if err != nil {
		t.Fatal(err)
	}
	c = exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "GITD_TEST_INDEX="+string(b))
	c.Stdin = pack
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err == nil {
		err = json.Unmarshal(out, &a)
	}
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errs.String())
	}
	return a, c
}

func appendSize(b []byte, n int64) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// delta begins a delta.
func delta(from, to int, instructions ...byte) []byte {
	return append(appendSize(appendSize(nil, int64(from)), int64(to)), instructions...)
}

func idOf(kind string, b []byte) ID {
	return sha1.Sum(append(fmt.Appendf(nil, "%s %d\x00", kind, len(b)), b...))
}

func treeOf(items ...string) []byte { // mode, name, content of the id
	var b bytes.Buffer
	for i := 0; i < len(items); i += 3 {
		fmt.Fprintf(&b, "%s %s\x00%s", items[i], items[i+1], items[i+2])
	}
	return b.Bytes()
}

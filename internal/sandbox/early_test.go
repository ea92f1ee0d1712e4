package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/reexec"
)

func init() { reexec.Register("test-early", earlyServer) }

func earlySpec(dir, layer, id string) Spec {
	return Spec{ID: id, Layers: []string{layer}, Args: []string{"/probe", "say", "once"}, LogFile: filepath.Join(dir, id+".log"), Early: true}
}

// earlyServer is a gitd that is killed while it starts a container that should outlive it.
func earlyServer(args []string) int {
	h, err := Open(context.Background(), Options{Dir: args[0]})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("begins")
	if _, err := h.Start(context.Background(), earlySpec(args[0], args[1], args[2])); err != nil {
		fmt.Println(err)
		return 1
	}
	select {}
}

// TestEarly kills gitd at each moment of a start: the container has run, and the next gitd has it, or it never ran, and the next gitd can start it.
func TestEarly(t *testing.T) {
	dir := t.TempDir()
	adopted := 0
	const times = 16
	for i := range times {
		id := fmt.Sprintf("job-%d", i)
		cmd := reexec.Command(t.Context(), "test-early", dir, probe, id)
		cmd.Env = append(cmd.Env, "GITD_PARTS="+os.Getenv("GITD_PARTS"), "PATH="+os.Getenv("PATH"))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "begins\n" {
			t.Fatalf("%q, %v", line, err)
		}
		time.Sleep(time.Duration(i) * 80 * time.Millisecond / times) // a start takes some 50 ms
		_ = cmd.Process.Kill()
		_ = cmd.Wait()

		h, err := Open(within(t, time.Minute), Options{Dir: dir, Log: t.Logf})
		if err != nil {
			t.Fatal(err)
		}
		all, err := h.Containers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var c *Container
		for _, one := range all {
			if one.ID == id {
				c = one
				adopted++
			}
		}
		if c == nil {
			if c, err = h.Start(t.Context(), earlySpec(dir, probe, id)); err != nil {
				t.Fatal(err)
			}
		}
		if e := ended(t, c); e.Code != 0 {
			t.Errorf("%s: %+v", id, e)
		}
		b, err := os.ReadFile(filepath.Join(dir, id+".log"))
		if err != nil || strings.Count(string(b), "once") != 1 {
			t.Errorf("%s, killed after %d/%d: it wrote %q, %v", id, i, times, b, err)
		}
		if err := c.Remove(t.Context()); err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if adopted == 0 || adopted == times {
		t.Errorf("%d of %d had begun: the kills show nothing", adopted, times)
	}
}

package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// BenchmarkStart compares, in turns, a container's start, and that of a prepared one, with a bare "runc run --detach" of the same specification, whose root is
// mounted already.
func BenchmarkStart(b *testing.B) {
	for _, egress := range []bool{false, true} {
		b.Run(fmt.Sprintf("egress=%v", egress), func(b *testing.B) {
			h := openHost(b)
			bundle := bareBundle(b, h)
			var ours, prepared, bare []time.Duration
			for i := 0; b.Loop(); i++ {
				begin := time.Now()
				c := start(b, h, Spec{ID: fmt.Sprint("ours-", i), Args: []string{"/probe", "sleep", "1h"}, Memory: 128 << 20, Scratch: 128 << 20, CPU: 1, Egress: egress})
				ours = append(ours, time.Since(begin))
				if err := c.Remove(b.Context()); err != nil {
					b.Fatal(err)
				}
				p, err := h.Prepare(b.Context(), Spec{ID: fmt.Sprint("prepared-", i), Layers: []string{probe}, Args: []string{"/probe", "sleep", "1h"}, Memory: 128 << 20, Scratch: 128 << 20, CPU: 1, Egress: egress})
				if err != nil {
					b.Fatal(err)
				}
				begin = time.Now()
				if c, err = p.Start(b.Context(), nil); err != nil {
					b.Fatal(err)
				}
				prepared = append(prepared, time.Since(begin))
				if err := c.Remove(b.Context()); err != nil {
					b.Fatal(err)
				}
				id := fmt.Sprintf("gitd-bench-%d-%d", os.Getpid(), i)
				begin = time.Now()
				if err := exec.Command("runc", "run", "--detach", "--bundle", bundle, id).Run(); err != nil { // the container would hold a pipe open
					b.Fatal(err)
				}
				bare = append(bare, time.Since(begin))
				if out, err := exec.Command("runc", "delete", "--force", id).CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
				time.Sleep(50 * time.Millisecond) // as between two starts: what is made ahead gets made
			}
			o, r := median(ours), median(bare)
			b.ReportMetric(float64(o)/1e6, "ours-ms")
			b.ReportMetric(float64(r)/1e6, "runc-ms")
			b.ReportMetric(float64(ours[0])/1e6, "ours-min-ms")
			b.ReportMetric(float64(bare[0])/1e6, "runc-min-ms")
			b.ReportMetric(float64(o)/float64(r), "ratio")
			b.ReportMetric(float64(median(prepared))/float64(r), "prepared-ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// bareBundle is a bundle like that of a container of ours, for runc alone: with a network namespace of runc's making.
func bareBundle(b *testing.B, h *Host) string {
	c := start(b, h, Spec{ID: "model", Args: []string{"/probe", "sleep", "1h"}, Memory: 128 << 20, CPU: 1})
	var o specs.Spec
	if err := shim.ReadFile(filepath.Join(c.dir, shim.BundleFile), &o); err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	for i, n := range o.Linux.Namespaces {
		if n.Type == specs.NetworkNamespace || n.Type == specs.PIDNamespace {
			o.Linux.Namespaces[i].Path = ""
		}
	}
	o.Linux.CgroupsPath = fmt.Sprintf("/gitd-%s/bench", h.id)
	o.Root.Path = filepath.Join(dir, "rootfs")
	if out, err := exec.Command("cp", "-r", probe, o.Root.Path).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	for _, d := range []string{"proc", "dev", "sys", "tmp", "etc"} {
		if err := os.Mkdir(filepath.Join(o.Root.Path, d), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	j, err := json.Marshal(o)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), j, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := c.Remove(b.Context()); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkDial measures a connection into a container.
func BenchmarkDial(b *testing.B) {
	h := openHost(b)
	c := start(b, h, Spec{ID: "web", Args: []string{"/probe", "serve", "127.0.0.1:8080", "hi"}})
	eventually(b, func() error { _, err := get(within(b, time.Second), c, 8080); return err })
	for b.Loop() {
		conn, err := c.Dial(b.Context(), 8080)
		if err != nil {
			b.Fatal(err)
		}
		_ = conn.Close()
	}
}

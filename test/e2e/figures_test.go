package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gitd-io/gitd/internal/release"
)

// cmdFigures prints where the time of each release of an app went, and how long a request took that found no instance.
func cmdFigures(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 1 {
		ts.Fatalf("usage: figures APP")
	}
	b, err := os.ReadFile(filepath.Join(w.data, "timings.jsonl"))
	if err != nil {
		return output{}, err
	}
	client := newClient(w.http, false)
	began := time.Now()
	a, err := get(context.Background(), client, args[0]+"."+w.domain, "/")
	cold := time.Since(began)
	if err != nil || a.status != 200 {
		return output{}, fmt.Errorf("the request that starts an instance: status %d, %v", a.status, err)
	}
	began = time.Now()
	if _, err := get(context.Background(), client, args[0]+"."+w.domain, "/"); err != nil {
		return output{}, err
	}
	warm := time.Since(began)

	var text strings.Builder
	fmt.Fprintf(&text, "Push to live on the cluster, in seconds:\n")
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "release\tPod's containers\tanalyze\tdetect\tbuild\texport\tstart on Knative\tshift\tgitd itself\tof it receive\tpush to live\t")
	for line := range strings.Lines(string(b)) {
		var v release.Timing
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			return output{}, err
		}
		if v.App != args[0] {
			continue
		}
		rest := v.Total
		fmt.Fprintf(t, "v%d\t", v.Version)
		for _, part := range []float64{v.Wait, v.Analyze, v.Detect, v.Build, v.Export, v.Start, v.Shift} {
			rest -= part
			fmt.Fprintf(t, "%.2f\t", part/1000)
		}
		fmt.Fprintf(t, "%.2f\t%.2f\t%.2f\t\n", rest/1000, v.Receive/1000, v.Total/1000)
	}
	if err := t.Flush(); err != nil {
		return output{}, err
	}
	fmt.Fprintf(&text, "A request from zero: %.2f s; the one after it: %.3f s\n", cold.Seconds(), warm.Seconds())
	fmt.Fprint(os.Stderr, text.String())
	return output{stdout: text.String()}, nil
}

package command

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/gitd-io/gitd/internal/store"
	"github.com/spf13/cobra"
)

// maxShares bounds the releases of a split.
const maxShares = 10

func (c *session) traffic() *cobra.Command {
	traffic := &cobra.Command{
		Use: "traffic APP [vN=PERCENT …]", Short: "Show which releases get the traffic, or divide it between them",
		Long: "Show which releases of an app get its traffic, with the requests of the last second, and those with 5xx.\n" +
			"With shares that add up to 100, such as v12=90 v13=10, divide it between the live release and others that were live or are ready. The next release that\n" +
			"goes live gets all of it and ends the split.",
		Args: trafficArgs,
	}
	inJSON := asJSON(traffic)
	traffic.RunE = func(cmd *cobra.Command, args []string) error {
		of := operation.OfApp{App: args[0]}
		if len(args) > 1 {
			shares, err := parseShares(args[1:])
			if err != nil {
				return err
			}
			_, err = operation.Divide.Do(cmd.Context(), c.services, c.caller, operation.DivideBy{OfApp: of, Shares: shares, Log: app.NewLog(cmd.OutOrStdout())})
			return err
		}
		t, err := operation.Traffic.Do(cmd.Context(), c.services, c.caller, of)
		return show(cmd, *inJSON, t, err, printTraffic)
	}
	c.asks(traffic, func(args []string) operation.Declaration {
		if len(args) > 1 {
			return operation.Divide.Declaration
		}
		return operation.Traffic.Declaration
	})
	return traffic
}

func trafficArgs(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return fmt.Errorf("APP is missing: %s", c.UseLine())
	case len(args) > 1+maxShares:
		return fmt.Errorf("traffic is divided between at most %d releases", maxShares)
	}
	return nil
}

// parseShares reads shares as people write them: "v12=90".
func parseShares(args []string) ([]store.Share, error) {
	shares := make([]store.Share, len(args))
	for i, a := range args {
		version, percent, ok := strings.Cut(a, "=")
		n, err := strconv.ParseInt(strings.TrimSuffix(percent, "%"), 10, 32)
		if !ok || err != nil {
			return nil, app.Errorf(app.CodeInvalidInput, "give shares such as v12=90 v13=10", "%q is not a release with its share of the traffic", app.Clip(a, 60))
		}
		if shares[i].Version, err = parseVersion(version); err != nil {
			return nil, err
		}
		shares[i].Percent = n
	}
	return shares, nil
}

func printTraffic(out io.Writer, t operation.TrafficOf) error {
	w := table(out, "RELEASE", "STATE", "REVISION", "SHARE", "REQUESTS/S", "5XX")
	for _, r := range t.Releases {
		version, rate, failed := "", "", ""
		if r.Version > 0 {
			version = fmt.Sprintf("v%d", r.Version)
		}
		if t.Counted {
			rate = strconv.FormatFloat(r.PerSecond, 'f', 1, 64)
			failed = fmt.Sprintf("%d of %d", r.Errors, r.Requests)
		}
		row(w, version, string(r.State), r.Revision, fmt.Sprintf("%d%%", r.Percent), rate, failed)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if t.Maintenance {
		fmt.Fprintf(out, "\nmaintenance is on: maintenance %s\n", t.App)
	}
	if t.Split != nil {
		fmt.Fprintf(out, "\ndivided by %s at %s, until the next release goes live\n", app.Plain(t.Split.Key), t.Split.At.UTC().Format(time.DateTime))
	}
	return nil
}

func (c *session) abort() *cobra.Command {
	abort := c.declare(operation.Abort.Declaration, "", nil)
	inJSON := asJSON(abort)
	abort.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := operation.Abort.Do(cmd.Context(), c.services, c.caller, operation.OfApp{App: args[0]})
		switch out := cmd.OutOrStdout(); {
		case err != nil:
			return err
		case *inJSON:
			return printJSON(out, a)
		case a.Version == 0:
			fmt.Fprintln(out, "Aborted the change of the traffic.")
		case a.Live == 0:
			fmt.Fprintf(out, "Aborted v%d; nothing is live.\n", a.Version)
		default:
			fmt.Fprintf(out, "Aborted v%d; v%d serves as before.\n", a.Version, a.Live)
		}
		return nil
	}
	return abort
}

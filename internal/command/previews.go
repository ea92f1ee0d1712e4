package command

import (
	"fmt"
	"io"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) previews() *cobra.Command {
	previews := shown(c, operation.Previews, printPreviews)
	previews.Long = previews.Short + ".\n\nA push of another branch than main makes one: git push platform BRANCH. The name of a preview stands for an app in all other commands."
	return previews
}

func printPreviews(out io.Writer, list []operation.Preview) error {
	w := table(out, "PREVIEW", "BRANCH", "RELEASE", "STATE", "COMMIT", "PUSHED", "REMOVED", "URL")
	for _, p := range list {
		version, state := "", string(p.State)
		if p.Live > 0 {
			version, state = fmt.Sprintf("v%d", p.Live), string(app.StateLive)
		}
		if p.UnderWay > 0 {
			state = fmt.Sprintf("v%d %s", p.UnderWay, p.State)
		}
		row(w, p.Name, p.Branch, version, state, fmt.Sprintf("%.7s", p.Commit), p.Pushed.UTC().Format(time.DateTime), p.Expires.UTC().Format(time.DateTime), p.URL)
	}
	return w.Flush()
}

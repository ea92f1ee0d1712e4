package command

import (
	"io"
	"strings"

	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) webhooks() *cobra.Command {
	return shown(c, operation.Webhooks, printWebhooks)
}

func printWebhooks(out io.Writer, list []operation.Webhook) error {
	w := table(out, "WEBHOOK", "KIND", "SECRET", "BROKER", "PATH", "URL")
	for _, h := range list {
		row(w, h.Name, string(h.Kind), strings.Join(h.Secrets, ", "), h.Broker, h.Path, h.URL)
	}
	return w.Flush()
}

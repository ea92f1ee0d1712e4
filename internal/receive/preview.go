package receive

import "github.com/gitd-io/gitd/internal/app"

// removePreview removes the preview whose branch is deleted. It returns the line's result for the server's log.
func (p *push) removePreview(c *refCommand) string {
	err := p.opts.Handler.RemovePreview(p.ss.Context(), p.ss.Key(), p.name, p.app, c.branch)
	if err != nil {
		c.reason = app.OneLine(err)
		p.fail(err)
		return c.branch + " not removed: " + c.reason
	}
	p.log.Step("Removed the preview of %s", app.Plain(c.branch))
	return c.branch + " removed"
}

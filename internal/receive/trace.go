package receive

import (
	"fmt"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// setParent takes the client's span. One that cannot be read ends no push: what it is for is elsewhere.
func (o *PushOptions) setParent(text string) {
	p, err := telemetry.ParseTraceparent(text)
	if err != nil {
		o.warn("traceparent", text, err)
		return
	}
	p.State = o.Parent.State
	o.Parent = p
}

// setState takes what comes along with the client's span.
func (o *PushOptions) setState(text string) {
	if err := telemetry.CheckTracestate(text); err != nil {
		o.warn("tracestate", text, err)
		return
	}
	o.Parent.State = text
}

func (o *PushOptions) warn(name, text string, err error) {
	o.Warning += fmt.Sprintf("warning: push option %q is ignored: %v: %q\n", name, err, app.Plain(app.Clip(text, 100)))
}

// startTrace begins the trace of a push that deploys by command c, or, with nil, deploys again what is live.
func (p *push) startTrace(c *refCommand) {
	if w := p.options.Warning; w != "" {
		p.log.Detail("%s", w)
	}
	if c != nil && p.app != 0 {
		p.opts.Metrics.Pushes.Add(0, p.name, "live") // an increase is seen from what was there before
		p.opts.Metrics.Pushes.Add(0, p.name, "failed")
	}
	_, p.span = p.opts.Tracer.StartRun(p.ss.Context(), p.options.Parent, p.name, p.started)
	if c != nil {
		p.span.Set(telemetry.Attribute{Key: telemetry.KeyRef, Value: strings.TrimPrefix(c.name, "refs/heads/")}, telemetry.Attribute{Key: telemetry.KeyRefType, Value: "branch"},
			telemetry.Attribute{Key: telemetry.KeyCommit, Value: c.new}, telemetry.Attribute{Key: telemetry.KeyRepository, Value: p.name})
	}
}

// tellTrace tells the client the ID of the trace, where there is one to look at.
func (p *push) tellTrace() {
	if p.span.Sent() {
		p.log.Detail("trace %s", p.span.Trace())
	}
}

// endTrace ends the trace, and counts the push.
func (p *push) endTrace(err error) {
	p.span.EndRun(err)
	result := "failed"
	switch {
	case err == nil && p.options.NoTraffic:
		result = "ready"
	case err == nil:
		result = "live"
	case app.CodeOf(err) == app.CodeDryRun:
		result = "built"
	case p.version == 0:
		result = "refused"
	}
	name := p.name
	if p.app == 0 && p.version == 0 {
		name = telemetry.Unknown
	}
	p.opts.Metrics.Pushes.Inc(name, result)
	p.opts.Metrics.PushDuration.Observe(time.Since(p.started), result)
}

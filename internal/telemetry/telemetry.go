// Package telemetry is what gitd tells of itself: metrics for Prometheus, traces by OpenTelemetry (OTLP), and the server's log.
//
// # Metrics
//
// A part of gitd counts with a struct of its own, such as SSH or Releases, that the server hands it. A counter is declared where that struct is made, with
// its name, its help and the names of its labels; there is nothing else to do: the endpoint, docs/monitoring.md and the tests of the dashboard find it. To
// count something new:
//
//  1. add a field to the struct of the part (or a new struct, in a file of its own, and a field of Metrics for it),
//  2. make it in that struct's function: r.counter("gitd_events_delivered_total", "Events that …", "service", "result"),
//  3. call m.Delivered.Inc(name, "ok") where it happens. The zero value of the struct counts nothing, so tests need not make one,
//  4. GITD_TEST_UPDATE=1 go test ./internal/telemetry writes the table in docs/monitoring.md.
//
// What is known without counting (how many instances there are, how much disk is free) is a gauge that is asked for when the endpoint is: Metrics.OnScrape.
//
// Labels come from strangers: the names of apps do. So each counter keeps a bounded number of series, what exceeds it is counted under Overflow, and the
// series of an app go with the app: Metrics.Forget.
//
// # Traces
//
// A span is in a context. Tracer.Start begins a trace, Start a span within it; where there is no span in the context, it does nothing. Spans are sent in the
// background: nothing ever waits for the collector.
package telemetry

// Overflow stands for the labels of the series that are too many to be told apart.
const Overflow = "(others)"

// Service is the first label of what is counted by app.
const Service = "service"

// Unknown stands for an app that does not exist.
const Unknown = "(none)"

package main

import (
	"errors"
	"net"
	"os"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/config"
	"github.com/gitd-io/gitd/internal/server"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// observe sets what the server counts and logs with, and returns the log of its progress.
func observe(o *server.Options) *app.Log {
	c := &o.Config.Telemetry
	var lines *telemetry.Counter
	if c.Metrics != "" {
		o.Metrics = telemetry.NewMetrics()
		o.Metrics.Runtime.Version = command.Version
		lines = o.Metrics.Host.Log
	}
	inJSON := c.LogFormat == config.LogJSON
	log := telemetry.NewLog(os.Stderr, inJSON, lines)
	o.Log = telemetry.Printf(log)
	if inJSON {
		return app.NewLog(telemetry.Steps(log))
	}
	return app.NewLog(os.Stdout)
}

// tracer is what the server traces with; nil for nothing.
func tracer(o *server.Options) (*telemetry.Tracer, error) {
	to, err := telemetry.NewCollector(o.Config.Telemetry.OTLP, os.Environ())
	if err != nil || to.URL == "" {
		return nil, err
	}
	to.Version, to.Log = command.Version, o.Log
	to.Resource = append(to.Resource, telemetry.Attribute{Key: "service.version", Value: command.Version})
	if name, err := os.Hostname(); err == nil {
		to.Resource = append(to.Resource, telemetry.Attribute{Key: "host.name", Value: name})
	}
	if o.Metrics != nil {
		to.Metrics = o.Metrics.Traces
	}
	return telemetry.NewTracer(to), nil
}

// metricsListener is where metrics are asked for; nil for nowhere.
func metricsListener(c *config.Telemetry) (net.Listener, error) {
	if c.Metrics == "" {
		return nil, nil
	}
	if err := telemetry.CheckAddress(c.Metrics); err != nil && !c.Public {
		if !errors.Is(err, telemetry.ErrPublic) {
			return nil, app.Errorf(app.CodeInvalidInput, "give one such as --metrics 127.0.0.1:9469", "the metrics address cannot be read: %w", err)
		}
		return nil, app.Errorf(app.CodeInvalidInput, "listen on this machine alone: --metrics 127.0.0.1:9469; where others are to read the metrics, add --metrics-public",
			"the metrics address %s can be reached by others than this machine", c.Metrics)
	}
	return listen("metrics", c.Metrics)
}

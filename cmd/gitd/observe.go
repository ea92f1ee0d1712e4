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

// observe sets what the server counts and traces with.
func observe(o *server.Options) error {
	c := &o.Config.Telemetry
	if c.Metrics != "" {
		o.Metrics = telemetry.NewMetrics()
		o.Metrics.Runtime.Version = command.Version
	}
	to, err := telemetry.NewCollector(c.OTLP, os.Environ())
	if err != nil || to.URL == "" {
		return err
	}
	to.Version, to.Log = command.Version, o.Log
	to.Resource = append(to.Resource, telemetry.Attribute{Key: "service.version", Value: command.Version})
	if name, err := os.Hostname(); err == nil {
		to.Resource = append(to.Resource, telemetry.Attribute{Key: "host.name", Value: name})
	}
	if o.Metrics != nil {
		to.Metrics = o.Metrics.Traces
	}
	o.Tracer = telemetry.NewTracer(to)
	return nil
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

package telemetry

// Requests are what the data plane of one machine counts by itself, and what is known of instances. On a cluster, Knative has its own.
type Requests struct {
	Answered      *Metric // by app, revision, process and class of the status
	Duration      *Metric // by app, revision and process, as are all below
	InFlight      *Metric
	Held          *Metric
	Hold          *Metric
	Instances     *Metric // by state as well
	Prepared      *Metric // without labels
	Memory        *Metric
	Starts        *Metric // by result as well
	StartDuration *Metric
	ColdStarts    *Metric
	ColdDuration  *Metric
	Restarts      *Metric
	OutOfMemory   *Metric
	Refused       *Metric // by reason
	Connections   *Metric
}

func newRequests(r *registry) Requests {
	of := []string{Service, "revision", "process"}
	durations := func(name, help string, least, most int) *Metric {
		m := r.gauge(TypeHistogram, name, help, of...)
		m.bounded(least, most)
		return m
	}
	return Requests{
		Refused:     r.gauge(TypeCounter, "gitd_http_refused_total", "Requests that no revision got: unknown-host, stopped, maintenance, removed, misdirected (over a connection for another name); and connections and requests beyond the limits (limit).", "reason"),
		Connections: r.gauge(TypeGauge, "gitd_http_connections", "Connections of clients that are open."),
		Answered:    r.gauge(TypeCounter, "gitd_http_requests_total", "Requests that were answered, by the class of the status; gitd's own health checks are not among them.", append(of, "code")...),
		Duration:    durations("gitd_http_request_duration_seconds", "Time until an answer began, the wait for an instance included.", -8, 6),
		InFlight:    r.gauge(TypeGauge, "gitd_http_requests_in_flight", "Requests under way, those that are held included.", of...),
		Held:        r.gauge(TypeGauge, "gitd_http_requests_held", "Requests that wait for an instance.", of...),
		Hold:        durations("gitd_http_request_hold_duration_seconds", "Time that a request waited for an instance, where it had to.", -8, 6),
		Instances: r.gauge(TypeGauge, "gitd_instances", "Instances, by state: starting, up, stopping, restarting, finished.",
			append(of, "state")...),
		Prepared: r.gauge(TypeGauge, "gitd_prepared_instances", "Apps at zero that have a prepared instance, which does not run and is not among gitd_instances."),
		Memory:   r.gauge(TypeGauge, "gitd_instances_memory_bytes", "Memory that the instances use.", of...),
		Starts:   r.gauge(TypeCounter, "gitd_instance_starts_total", "Instances that became ready (ok) or did not (failed).", append(of, "result")...),
		StartDuration: durations("gitd_instance_start_duration_seconds",
			"Time from the decision to start an instance until it was ready.", -8, 6),
		ColdStarts:   r.gauge(TypeCounter, "gitd_cold_starts_total", "Starts of an instance that requests waited for because there was none.", of...),
		ColdDuration: durations("gitd_cold_start_duration_seconds", "Time from the first request that found no instance until there was one.", -8, 6),
		Restarts:     r.gauge(TypeCounter, "gitd_instance_restarts_total", "Instances that ended by themselves.", of...),
		OutOfMemory:  r.gauge(TypeCounter, "gitd_instance_oom_kills_total", "Instances that were killed at their memory limit.", of...),
	}
}

// Host is what the machine has.
type Host struct {
	Free   *Metric
	Size   *Metric
	Inodes *Metric
	Data   *Metric // by part
	Log    *Counter

	Certificates *Metric // by name
	Failing      *Metric // by name
}

func newHost(r *registry) Host {
	return Host{
		Free:         r.gauge(TypeGauge, "gitd_disk_free_bytes", "Free bytes of the file system of the data directory."),
		Size:         r.gauge(TypeGauge, "gitd_disk_size_bytes", "Size of the file system of the data directory."),
		Inodes:       r.gauge(TypeGauge, "gitd_disk_free_inodes", "Files and folders that can still be made there; none where the file system does not say."),
		Data:         r.gauge(TypeGauge, "gitd_data_bytes", "Bytes on disk of a part of the data directory, measured every few minutes.", "part"),
		Certificates: r.gauge(TypeGauge, "gitd_certificate_expiry_timestamp_seconds", "When the certificate of a name expires, in seconds since 1970.", "name"),
		Failing:      r.gauge(TypeGauge, "gitd_certificate_failed", "1 for a name for which the last attempt to get a certificate has failed; else 0.", "name"),
		Log:          r.counter("gitd_log_messages_total", "Lines of the server's log.", "level").from("info", "warn", "error"),
	}
}

// Traces counts what becomes of spans.
type Traces struct {
	Exported *Counter
	Dropped  *Counter // by reason
}

func newTraces(r *registry) Traces {
	return Traces{
		Exported: r.counter("gitd_trace_spans_exported_total", "Spans that the collector has taken."),
		Dropped:  r.counter("gitd_trace_spans_dropped_total", "Spans that were not sent: the queue was full (queue), or the collector did not take them (collector).", "reason").from("queue", "collector"),
	}
}

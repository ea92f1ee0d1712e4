package telemetry

// Jobs counts what internal/job does.
type Jobs struct {
	Started   *Counter   // by app and kind
	Ended     *Counter   // by app, kind and state
	Duration  *Histogram // by kind
	Schedules *Counter   // by app, schedule and result
	Success   *Metric    // by app and schedule
	Running   *Metric
}

func newJobs(r *registry) Jobs {
	return Jobs{
		Started:   r.counter("gitd_jobs_started_total", "Jobs that were started: run, schedule, release.", Service, "kind"),
		Ended:     r.counter("gitd_jobs_total", "Jobs that have ended, by kind and by the state in which they ended.", Service, "kind", "state"),
		Duration:  r.histogram("gitd_job_duration_seconds", "Time that a job ran.", -4, 14, "kind"),
		Schedules: r.counter("gitd_schedule_runs_total", "Due times of schedules: started, missed, and of those that were started done and failed.", Service, "schedule", "result"),
		Success:   r.gauge(TypeGauge, "gitd_schedule_last_success_timestamp_seconds", "When a job of a schedule ended with status 0 last.", Service, "schedule"),
		Running:   r.gauge(TypeGauge, "gitd_jobs_running", "Jobs that run."),
	}
}

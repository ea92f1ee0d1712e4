package telemetry

// Releases counts what internal/receive and internal/release do.
type Releases struct {
	Pushes          *Counter   // by app and result
	PushDuration    *Histogram // by result
	Ended           *Counter   // by app, kind and state
	ReleaseDuration *Histogram // by kind and state
	Phases          *Histogram // by phase
	Active          *Metric    // by state
	Live            *Metric    // by app: the version
	Apps            *Metric
}

func newReleases(r *registry) Releases {
	return Releases{
		Pushes: r.counter("gitd_pushes_total", "Pushes with something to deploy: live, ready (no-traffic), built (dry-run), refused (before a release was made of it), failed.", Service, "result"),
		PushDuration: r.histogram("gitd_push_duration_seconds", "Time from the beginning of a push to its end.",
			-4, 12, "result"),
		Ended: r.counter("gitd_releases_total", "Releases that have ended, by what they come from and the state in which they ended.", Service, "kind", "state"),
		ReleaseDuration: r.histogram("gitd_release_duration_seconds", "Time from a release's entry into the ledger to its end.",
			-4, 12, "kind", "state"),
		Phases: r.histogram("gitd_release_phase_duration_seconds", "Time that a phase of a release that went live took: receive, queue, start, shift.", -8, 10, "phase"),
		Active: r.gauge(TypeGauge, "gitd_releases_active", "Releases under way, by state.", "state"),
		Live:   r.gauge(TypeGauge, "gitd_release_live_version", "Version of the release that is live.", Service),
		Apps:   r.gauge(TypeGauge, "gitd_apps", "Apps and previews."),
	}
}

// Builds counts what the builds do.
type Builds struct {
	Ended      *Counter   // by result
	Duration   *Histogram // by result
	Phases     *Histogram // by phase
	Buildpacks *Histogram // by buildpack and result
	Wait       *Histogram
	Queue      *Metric
	Running    *Metric
}

func newBuilds(r *registry) Builds {
	return Builds{
		Ended:      r.counter("gitd_builds_total", "Builds that have ended: ok, failed or cancelled.", "result").from("ok", "failed", "cancelled"),
		Duration:   r.histogram("gitd_build_duration_seconds", "Time that a build took, without its wait in the queue.", -4, 11, "result"),
		Phases:     r.histogram("gitd_build_phase_duration_seconds", "Time that a phase of a build took.", -8, 10, "phase"),
		Buildpacks: r.histogram("gitd_buildpack_duration_seconds", "Time that a buildpack took to build.", -8, 10, "buildpack", "result"),
		Wait:       r.histogram("gitd_build_queue_wait_seconds", "Time that a build waited for its turn.", -8, 10),
		Queue:      r.gauge(TypeGauge, "gitd_build_queue_length", "Builds that wait for their turn."),
		Running:    r.gauge(TypeGauge, "gitd_builds_running", "Builds that run."),
	}
}

package telemetry

// SSH counts what internal/sshd does.
type SSH struct {
	Connections     *Counter // by result
	Authentications *Counter // by result
	Commands        *Counter // by command and result
	Received        *Counter
	Sent            *Counter
	Open            *Metric
}

func newSSH(r *registry) SSH {
	return SSH{
		Connections: r.counter("gitd_ssh_connections_total", "SSH connections: accepted; refused because of failed logins (backoff), because there are too many (crowded), or at the end of the server (shutdown).", "result").from("accepted", "backoff", "crowded", "shutdown"),
		Authentications: r.counter("gitd_ssh_authentications_total", "SSH connections that authenticated (ok), tried and did not (failed), or ended without a try (probe).",
			"result").from("ok", "failed", "probe"),
		Commands: r.counter("gitd_ssh_commands_total", "Commands over SSH that have ended: push, fetch, lfs or command, with ok for the exit status 0 and failed for any other. A push that is rejected is ok: git is told in another way.", "command", "result"),
		Received: r.counter("gitd_ssh_received_bytes_total", "Bytes that came over SSH connections."),
		Sent:     r.counter("gitd_ssh_sent_bytes_total", "Bytes that went out over SSH connections."),
		Open:     r.gauge(TypeGauge, "gitd_ssh_connections", "SSH connections that are open."),
	}
}

package telemetry

// Events counts what the broker of one machine does.
type Events struct {
	Received   *Counter   // by result
	Deliveries *Counter   // by app and result
	Duration   *Histogram // by result
}

func newEvents(r *registry) Events {
	return Events{
		Received:   r.counter("gitd_events_received_total", "Events that were sent: accepted, which is to say kept on the disk, or refused.", "result").from("accepted", "refused"),
		Deliveries: r.counter("gitd_event_deliveries_total", "Attempts to deliver an event to an app's trigger: delivered, retry (it is tried again, if it may be), failed.", Service, "result"),
		Duration:   r.histogram("gitd_event_delivery_duration_seconds", "Time that an attempt to deliver an event took, the app's work included.", -8, 8, "result"),
	}
}

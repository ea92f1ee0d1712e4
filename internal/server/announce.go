package server

import "github.com/gitd-io/gitd/internal/announce"

// announce begins to tell apps what becomes of apps and releases. On a cluster nothing is told: its brokers could not keep it from the apps of others.
func (s *Server) announce() {
	o := announce.Options{Store: s.store, Log: s.o.Log}
	if m, ok := s.runner.(*machine); ok {
		o.Events = m.brokers
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		announce.New(o).Run(s.stopping)
	}()
	s.onClose(func() error { s.stop(); <-ended; return nil })
}

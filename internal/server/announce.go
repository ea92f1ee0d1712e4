package server

import "github.com/gitd-io/gitd/internal/announce"

// announce begins to tell apps what becomes of apps and releases.
func (s *Server) announce() {
	o := announce.Options{Store: s.store, Log: s.o.Log}
	if events := s.runner.events(); events != nil {
		o.Events = events
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		announce.New(o).Run(s.stopping)
	}()
	s.onClose(func() error { s.stop(); <-ended; return nil })
}

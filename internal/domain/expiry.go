package domain

import "time"

// Expiries returns until when the certificates that are served hold, by name, and for which names the last attempt to get one has failed.
func (m *Manager) Expiries() (until map[string]time.Time, failed []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	until = make(map[string]time.Time, len(m.c.pairs))
	for name, p := range m.c.pairs {
		until[name] = p.Leaf.NotAfter
	}
	for name, a := range m.c.attempts {
		if a.Failed != "" {
			failed = append(failed, name)
		}
	}
	return until, failed
}

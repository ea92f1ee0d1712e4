package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/disk"
)

// SetMaintenance implements deploy.Platform. That of a release is not stored: it ends with the process, which holds the requests.
func (p *Platform) SetMaintenance(_ context.Context, name string, m *deploy.Maintenance) error {
	defer p.lock(name)()
	p.mu.RLock()
	s, err := p.service(name)
	p.mu.RUnlock()
	if err != nil {
		return err
	}
	stored := m
	if m != nil && m.Release != 0 {
		stored = nil
	}
	if err := p.store.saveMaintenance(name, stored); err != nil {
		return fmt.Errorf("save the maintenance of %s: %w", name, err)
	}
	next := *s
	next.maintenance = nil
	if m != nil {
		on := *m
		next.maintenance = &on
	}
	p.mu.Lock()
	p.services[name] = &next
	p.publish()
	p.mu.Unlock()
	p.proxy.Settle()
	return nil
}

// Maintenance implements deploy.Platform.
func (p *Platform) Maintenance(_ context.Context, name string) (*deploy.Maintenance, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	s, err := p.service(name)
	if err != nil {
		return nil, err
	}
	if s.maintenance == nil {
		return nil, nil
	}
	m := *s.maintenance
	return &m, nil
}

// Away says whether a Service answers no requests of clients with its instances: it is stopped, or in maintenance.
func (p *Platform) Away(name string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	s := p.services[name]
	return s != nil && (s.stopped || s.maintenance != nil)
}

// Maintained implements deploy.Platform.
func (p *Platform) Maintained(context.Context) (map[string]deploy.Maintenance, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	on := map[string]deploy.Maintenance{}
	for name, s := range p.services {
		if s.maintenance != nil {
			on[name] = *s.maintenance
		}
	}
	return on, nil
}

func (s store) maintenanceFile(service string) string {
	return filepath.Join(s.dir, service, "maintenance.json")
}

// saveMaintenance keeps what is on for the next process; nil for nothing.
func (s store) saveMaintenance(service string, m *deploy.Maintenance) error {
	file := s.maintenanceFile(service)
	if m != nil {
		return write(file, m)
	}
	if err := os.Remove(file); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return disk.Sync(filepath.Dir(file))
}

// maintenance returns nil where none is on.
func (s store) maintenance(service string) (*deploy.Maintenance, error) {
	var m deploy.Maintenance
	err := read(s.maintenanceFile(service), &m)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &m, err
}

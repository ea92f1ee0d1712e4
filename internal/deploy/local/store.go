package local

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/disk"
)

// store keeps the Services as files: SERVICE/service.json, SERVICE/revisions/REVISION.json, SERVICE/workers.json. A file is replaced
// atomically and synced before its writer continues. The files hold the apps' configuration; only root can read them.
type store struct{ dir string }

// template is a revision as it is stored: what it was made from, with the defaults filled in.
type template struct {
	Template   servingv1.RevisionTemplateSpec `json:"template"`
	Created    time.Time                      `json:"created"`
	Generation int64                          `json:"generation"`    // of the Service when the revision was created
	H2C        bool                           `json:"h2c,omitempty"` // its app was found to speak only HTTP/2 without TLS
}

// workerSet is the workers that a Service should have.
type workerSet struct {
	Revision string          `json:"revision"`
	Workers  []deploy.Worker `json:"workers,omitempty"`
	Finished []string        `json:"finished,omitempty"` // instances that ended with status 0 right after their start; one without a number is the first
	Types    []string        `json:"types,omitempty"`    // in files of an older gitd: one instance of each
}

// places are the instances of a set that should run, by name.
func (c *workerSet) places() map[string]place {
	all := map[string]place{}
	for _, t := range c.Types {
		all[deploy.InstanceName(t, 1)] = place{deploy.Worker{Type: t, Instances: 1}, 1}
	}
	for _, w := range c.Workers {
		for n := range int(w.Instances) {
			all[deploy.InstanceName(w.Type, n+1)] = place{w, n + 1}
		}
	}
	for _, name := range c.Finished {
		delete(all, name)
		delete(all, deploy.InstanceName(name, 1))
	}
	return all
}

// place is one of a worker's instances.
type place struct {
	worker deploy.Worker
	number int // from 1
}

func (p place) name() string { return deploy.InstanceName(p.worker.Type, p.number) }

// sameSize tells whether two places have instances of the same size.
func (p place) sameSize(o place) bool {
	return p.worker.Memory.Equal(o.worker.Memory) && p.worker.CPU.Equal(o.worker.CPU)
}

type record struct {
	service   *servingv1.Service
	revisions []template
	stopped   bool
}

const removed = ".removed-" // prefix of a Service's folder that is being deleted

func (s store) load(log func(string, ...any)) ([]record, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var records []record
	for _, e := range entries {
		dir := filepath.Join(s.dir, e.Name())
		if strings.HasPrefix(e.Name(), removed) {
			_ = disk.RemoveAll(dir)
			continue
		}
		for _, d := range []string{dir, filepath.Join(dir, "revisions")} {
			if err := disk.RemoveTemporary(d); err != nil {
				log("deploy: remove the temporary files of a killed process: %v", err)
			}
		}
		rec := record{service: &servingv1.Service{}}
		_, err := os.Stat(filepath.Join(dir, stoppedFile))
		rec.stopped = err == nil
		if err := read(filepath.Join(dir, "service.json"), rec.service); errors.Is(err, fs.ErrNotExist) {
			_ = disk.RemoveAll(dir) // the process ended during its first Apply
			continue
		} else if err != nil {
			log("deploy: %s is left out: %v", dir, err)
			continue
		}
		files, err := filepath.Glob(filepath.Join(dir, "revisions", "*.json"))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			var t template
			if err := read(f, &t); err != nil {
				log("deploy: %s is left out: %v", f, err)
				continue
			}
			rec.revisions = append(rec.revisions, t)
		}
		records = append(records, rec)
	}
	return records, nil
}

func (s store) saveService(svc *servingv1.Service) error {
	return write(filepath.Join(s.dir, svc.Name, "service.json"), svc)
}

func (s store) saveRevision(service string, t template) error {
	return write(filepath.Join(s.dir, service, "revisions", t.Template.Name+".json"), t)
}

func (s store) removeRevision(service, revision string) error {
	dir := filepath.Join(s.dir, service, "revisions")
	if err := os.Remove(filepath.Join(dir, revision+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return disk.Sync(dir)
}

func (s store) saveWorkers(service string, c workerSet) error {
	return write(filepath.Join(s.dir, service, "workers.json"), c)
}

// workers returns the zero value where none were ever set.
func (s store) workers(service string) (workerSet, error) {
	var c workerSet
	err := read(filepath.Join(s.dir, service, "workers.json"), &c)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return c, err
}

// stoppedFile is beside the Service while it is stopped.
const stoppedFile = "stopped"

func (s store) saveStopped(service string, stopped bool) error {
	dir := filepath.Join(s.dir, service)
	if stopped {
		return disk.ReplaceBytes(filepath.Join(dir, stoppedFile), 0o600, nil)
	}
	if err := os.Remove(filepath.Join(dir, stoppedFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	return disk.Sync(dir)
}

// removeService removes the Service by one rename, so that a crash leaves all of it or nothing.
func (s store) removeService(service string) error {
	gone := filepath.Join(s.dir, removed+service)
	if err := disk.RemoveAll(gone); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(s.dir, service), gone); err != nil {
		return err
	}
	if err := disk.Sync(s.dir); err != nil {
		return err
	}
	return disk.RemoveAll(gone)
}

func read(file string, v any) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

func write(file string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return disk.ReplaceBytes(file, 0o600, b)
}

package project

import (
	"errors"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Process is what an app's files say of a process type beside web; of web, its number of instances where that is 0: it does not run.
type Process struct {
	Instances *int64            // nil where nothing is said
	Memory    resource.Quantity // limit of an instance; zero for web's
	CPU       resource.Quantity // the same
	Moved     bool              // it is from app.json, which may name types that the image does not have
}

// MaxInstances is how many instances of a worker an app can ask for.
const MaxInstances = 100

// processTable is [io.gitd.processes.TYPE].
type processTable struct {
	Instances *int64  `toml:"instances"`
	Memory    *string `toml:"memory"`
	CPU       *string `toml:"cpu"`
}

// process sets what the descriptor says of a process type.
func (d *Descriptor) process(name string, t processTable) error {
	table := "processes." + name
	switch {
	case name == "release":
		return bad("io.gitd.%s: release runs once for each push; remove it from the Procfile to switch it off", table)
	case name == "web" && t.Instances != nil && *t.Instances > 1:
		return bad("io.gitd.%s.instances: give 0 for an app that runs workers alone; how many there are is for [io.gitd.web] min-scale and max-scale", table)
	case name == "web" && (t.Memory != nil || t.CPU != nil):
		return bad("io.gitd.%s: the size of web is for [io.gitd.web] memory and cpu", table)
	}
	p := d.Processes[name]
	if t.Instances != nil {
		p.Instances, p.Moved = t.Instances, false
	}
	err := errors.Join(
		numberOf(table, "instances", t.Instances, 0, MaxInstances, new(int64), nil),
		quantityOf(table, "memory", t.Memory, "16Mi", "64Gi", &p.Memory),
		quantityOf(table, "cpu", t.CPU, "10m", "64", &p.CPU))
	d.Processes[name] = p
	return err
}

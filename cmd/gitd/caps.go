package main

import (
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/server"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/resource"
)

// caps are the flags that bound what apps and keys may take. "" stands for a default by the machine.
type caps struct{ memory, cpu, keyMemory string }

func (c *caps) flags(f *pflag.FlagSet, o *server.Options) {
	f.StringVar(&c.memory, "max-memory", "", "memory that an app may ask for, for an instance; 0 for no bound (default: half of the machine's, at least 512Mi; on a cluster none)")
	f.StringVar(&c.cpu, "max-cpu", "0", "cores that an app may ask for, for an instance, such as 2 or 500m; 0 for no bound")
	f.Int64Var(&o.Caps.Scale, "max-scale", 100, "instances that an app may ask for; 0 for no bound")
	f.Int64Var(&o.Caps.MinScale, "max-min-scale", 10, "instances of an app that may always run, its workers included; 0 for no bound")
	f.StringVar(&c.keyMemory, "max-key-memory", "", "memory that the instances which always run may take together, of all apps of one key; 0 for no bound (default as for --max-memory)")
	f.IntVar(&o.AppsPerKey, "max-apps-per-key", 100, "apps that a key which is no admin may own; 0 for no bound")
}

// set reads what was given.
func (c *caps) set(o *server.Options) error {
	for _, q := range []struct {
		flag, text string
		to         *int64
	}{{"max-memory", c.memory, &o.Caps.Memory}, {"max-key-memory", c.keyMemory, &o.Caps.KeyMemory}} {
		if q.text == "" {
			*q.to = halfOfMachine(o.Cluster != nil)
			continue
		}
		v, err := resource.ParseQuantity(q.text)
		if err != nil || v.Sign() < 0 {
			return app.Errorf(app.CodeInvalidInput, "give one such as 2Gi, or 0 for no bound", "--%s: %q is not an amount of bytes", q.flag, q.text)
		}
		*q.to = v.Value()
	}
	v, err := resource.ParseQuantity(c.cpu)
	if err != nil || v.Sign() < 0 {
		return app.Errorf(app.CodeInvalidInput, "give one such as 2 or 500m, or 0 for no bound", "--max-cpu: %q is not a number of cores", c.cpu)
	}
	o.Caps.CPU = v.MilliValue()
	if o.Caps.Scale < 0 || o.Caps.MinScale < 0 || o.AppsPerKey < 0 {
		return app.Errorf(app.CodeInvalidInput, "give 0 for no bound", "--max-scale, --max-min-scale and --max-apps-per-key cannot be negative")
	}
	return nil
}

// halfOfMachine is half of the memory, at least what an app gets that asks for nothing; 0, no bound, on a cluster.
func halfOfMachine(cluster bool) int64 {
	var m unix.Sysinfo_t
	if cluster || unix.Sysinfo(&m) != nil {
		return 0
	}
	return max(512<<20, int64(m.Totalram)*int64(m.Unit)/2)
}

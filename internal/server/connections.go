package server

import (
	"github.com/gitd-io/gitd/internal/deploy/local"
)

// What connections cost, for the bounds where none are set.
const (
	filesOfRequest   = 3    // the client's connection, one to the app, and one to the app that is kept for a moment
	filesKept        = 4096 // for SSH, pushes, instances and the ledger; a quarter where there are few
	memoryOfRequest  = 64 << 10
	memoryShare      = 4 // of the machine, as a divisor
	addressShare     = 4 // of all connections that one address may have, as a divisor
	fewestOfAnything = 16
)

// connectionLimits are the bounds for HTTP: those that are set, else what descriptors and memory allow.
func connectionLimits(o Options) local.Limits {
	c := o.Config.HTTP
	l := local.Limits{Connections: c.Connections, PerAddress: c.PerAddress, Proxies: c.TrustedProxies}
	if l.Connections == 0 {
		files := o.Files
		if files == 0 {
			files = 1024
		}
		l.Connections = max(fewestOfAnything, (files-min(filesKept, files/4))/filesOfRequest)
		if memory, ok := machineMemory(); ok {
			l.Connections = min(l.Connections, max(fewestOfAnything, int(memory/memoryShare/memoryOfRequest)))
		}
	}
	if l.PerAddress == 0 {
		l.PerAddress = max(fewestOfAnything, l.Connections/addressShare)
	}
	return l
}

package server

import "testing"

func TestConnectionLimits(t *testing.T) {
	for _, c := range []struct {
		o                Options
		connections, one int
	}{
		{Options{Files: 1024}, 256, 64},
		{Options{Files: 8192}, 2048, 512},
		{Options{Files: 8192, HTTPConnections: 10}, 10, 16},
		{Options{Files: 8192, HTTPConnections: 100, HTTPPerAddress: 7}, 100, 7},
	} {
		if l := connectionLimits(c.o); l.Connections != c.connections || l.PerAddress != c.one {
			t.Errorf("%d files, %d and %d set: %d and %d", c.o.Files, c.o.HTTPConnections, c.o.HTTPPerAddress, l.Connections, l.PerAddress)
		}
	}
	l := connectionLimits(Options{Files: 1 << 18})
	if need := l.Connections*filesOfRequest + filesKept; need > 1<<18 {
		t.Errorf("%d connections may take all descriptors", l.Connections)
	}
}

package server

import (
	"testing"

	"github.com/gitd-io/gitd/internal/config"
)

func TestConnectionLimits(t *testing.T) {
	for _, c := range []struct {
		files            int
		set              config.HTTP
		connections, one int
	}{
		{1024, config.HTTP{}, 256, 64},
		{8192, config.HTTP{}, 2048, 512},
		{8192, config.HTTP{Connections: 10}, 10, 16},
		{8192, config.HTTP{Connections: 100, PerAddress: 7}, 100, 7},
	} {
		if l := connectionLimits(Options{Files: c.files, Config: config.Config{HTTP: c.set}}); l.Connections != c.connections || l.PerAddress != c.one {
			t.Errorf("%d files, %d and %d set: %d and %d", c.files, c.set.Connections, c.set.PerAddress, l.Connections, l.PerAddress)
		}
	}
	l := connectionLimits(Options{Files: 1 << 18})
	if need := l.Connections*filesOfRequest + filesKept; need > 1<<18 {
		t.Errorf("%d connections may take all descriptors", l.Connections)
	}
}

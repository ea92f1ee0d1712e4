package server

import (
	"context"
	"os"

	"github.com/gitd-io/gitd/internal/sandbox"
)

// Purge removes everything that a data directory has put on the machine, and the directory. It returns an *app.Error while a server
// works on it.
func Purge(ctx context.Context, data string) error {
	if _, err := os.Stat(data); err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	l, err := lock(data)
	if err != nil {
		return err
	}
	defer l.Close()
	s := &Server{o: Options{Data: data}}
	if _, err := os.Stat(s.path("sandbox")); err == nil {
		host, err := sandbox.Open(ctx, sandbox.Options{Dir: s.path("sandbox")})
		if err != nil {
			return err
		}
		containers, err := host.Containers(ctx)
		if err != nil {
			return err
		}
		for _, c := range containers {
			if err := c.Remove(ctx); err != nil {
				return err
			}
		}
		if err := host.Close(); err != nil { // the last container is gone: firewall table and control groups go with it
			return err
		}
	}
	return os.RemoveAll(data)
}

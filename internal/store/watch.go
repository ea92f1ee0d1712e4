package store

import (
	"context"
	"time"
)

// watchEvery is how often the database is checked for changes: the check reads a number in shared memory.
const watchEvery = 200 * time.Millisecond

// Watch calls changed within watchEvery after each change of keys and apps, by any process, until ctx ends. If changed fails,
// it is called again. It returns an error only if the database cannot be watched.
func (s *Store) Watch(ctx context.Context, changed func() error) error {
	conn, err := s.db.Conn(ctx) // of its own: data_version counts changes by other connections
	if err != nil {
		return err
	}
	defer conn.Close()
	number := func(query string) (n int64, err error) {
		err = conn.QueryRowContext(ctx, query).Scan(&n)
		return n, err
	}
	var data, access int64
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for failed := true; ; { // the first time: earlier changes are not known
		now, err := number("PRAGMA data_version")
		if err == nil && (now != data || failed) {
			var version int64
			if version, err = number("SELECT version FROM access"); err == nil {
				if version != access || failed {
					failed = changed() != nil
				}
				data, access = now, version
			}
		}
		if err != nil && ctx.Err() == nil {
			failed = true // a busy or failing disk: try again
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

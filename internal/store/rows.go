package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

func (s *Store) one(ctx context.Context, none *app.Error, query string, args ...any) (app.Release, error) {
	all, err := s.many(ctx, query, args...)
	switch {
	case err != nil:
		return app.Release{}, err
	case len(all) == 0:
		return app.Release{}, none
	}
	return all[0], nil
}

func (s *Store) many(ctx context.Context, query string, args ...any) ([]app.Release, error) {
	var all []app.Release
	err := s.each(ctx, func(r app.Release) bool {
		all = append(all, r)
		return true
	}, query, args...)
	return all, err
}

// each calls do with each release, until it returns false.
func (s *Store) each(ctx context.Context, do func(app.Release) bool, query string, args ...any) error {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r app.Release
		var processes string
		var created, finished int64
		if err := rows.Scan(&r.App, &r.Version, &r.Commit, &r.Ref, &r.Key, &r.Of,
			&r.State, &r.Reason, &r.Message, &r.Repository, &r.Digest, &processes, &r.Revision, &created, &finished, &r.Signed, &r.Kind, &r.Author, &r.Subject, &r.Trace); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(processes), &r.Processes); err != nil {
			return fmt.Errorf("v%d of %s: %w", r.Version, r.App, err)
		}
		r.Created = time.UnixMilli(created)
		if finished != 0 {
			r.Finished = time.UnixMilli(finished)
		}
		if !do(r) {
			return nil
		}
	}
	return rows.Err()
}

// column returns the values in the one column of a query's rows.
func column[T any](ctx context.Context, q querier, query string, args ...any) (all []T, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

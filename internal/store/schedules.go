package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// SetSchedules sets which schedules an app has. A new one is decided up to now; one that goes is forgotten.
func (s *Store) SetSchedules(ctx context.Context, name string, schedules []string, now time.Time) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		have, err := column[string](ctx, tx, "SELECT name FROM schedules WHERE app = ?", name)
		if err != nil {
			return err
		}
		for _, n := range have {
			if slices.Contains(schedules, n) {
				continue
			}
			if _, err := tx.ExecContext(ctx, "DELETE FROM schedules WHERE app = ? AND name = ?", name, n); err != nil {
				return err
			}
		}
		for _, n := range schedules {
			if slices.Contains(have, n) {
				continue
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO schedules (app, name, decided) SELECT name, ?, ? FROM apps WHERE name = ?", n, milli(now), name); err != nil {
				return err
			}
		}
		return nil
	})
}

// Decided returns up to when the due times of a schedule are decided; the zero time for a schedule that is not known.
func (s *Store) Decided(ctx context.Context, name, schedule string) (time.Time, error) {
	var at int64
	err := s.db.QueryRowContext(ctx, "SELECT decided FROM schedules WHERE app = ? AND name = ?", name, schedule).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return fromMilli(at), err
}

// Decide claims the due times of a schedule from after from up to to: jobs is what becomes of them, those to start and those that were missed. All of it is
// entered in one transaction, or, where they are decided already, nothing: then it returns false. A due time has one job, also where to is before from: what was entered for it stays.
func (s *Store) Decide(ctx context.Context, name, schedule string, from, to time.Time, jobs []app.Job) (entered []app.Job, done bool, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, "UPDATE schedules SET decided = ? WHERE app = ? AND name = ? AND decided = ?", milli(to), name, schedule, milli(from))
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return err
		}
		done = true
		number := 0
		if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(number), 0) FROM jobs WHERE app = ?", name).Scan(&number); err != nil {
			return err
		}
		for _, j := range jobs {
			var known bool // the clock went back
			if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM jobs WHERE app = ? AND schedule = ? AND due = ? AND attempt = ?)", name, schedule, milli(j.Due), j.Attempt).Scan(&known); err != nil {
				return err
			}
			if known {
				continue
			}
			number++
			j.Number = number
			if err := insertJob(ctx, tx, j); err != nil {
				return err
			}
			entered = append(entered, j)
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return entered, done, nil
}

const querySucceeded = `SELECT a.app, a.name, coalesce((SELECT j.ended FROM jobs j INDEXED BY jobs_by_due
	WHERE j.app = a.app AND j.schedule = a.name AND j.due IS NOT NULL AND j.state = 'done' ORDER BY j.due DESC, j.attempt DESC LIMIT 1), 0) FROM schedules a`

// Succeeded returns the last job of each schedule that ended with status 0: its app, its schedule and when it ended. Schedules without one are left out.
func (s *Store) Succeeded(ctx context.Context) (all []app.Job, err error) {
	rows, err := s.db.QueryContext(ctx, querySucceeded)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var j app.Job
		var ended int64
		if err := rows.Scan(&j.App, &j.Schedule, &ended); err != nil {
			return nil, err
		}
		if j.Ended = fromMilli(ended); ended != 0 {
			all = append(all, j)
		}
	}
	return all, rows.Err()
}

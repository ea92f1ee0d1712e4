package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// appDomains has the domains of apps, and who changed what of them.
const appDomains = `
CREATE TABLE domains (
	name        TEXT PRIMARY KEY,
	app         TEXT NOT NULL REFERENCES apps(name) ON DELETE CASCADE,
	added       INTEGER NOT NULL, -- milliseconds
	key         TEXT NOT NULL,
	certificate TEXT NOT NULL -- where it comes from: '' for the server's issuers, 'file'
) STRICT;
CREATE INDEX domains_by_app ON domains (app);
CREATE TABLE domain_changes (
	id     INTEGER PRIMARY KEY,
	app    TEXT NOT NULL REFERENCES apps(name) ON DELETE CASCADE,
	name   TEXT NOT NULL,
	at     INTEGER NOT NULL,
	key    TEXT NOT NULL,
	change TEXT NOT NULL
) STRICT;
CREATE INDEX domain_changes_by_app ON domain_changes (app, id);
CREATE TRIGGER domain_changes_are_final BEFORE UPDATE ON domain_changes BEGIN SELECT RAISE(ABORT, 'a change of a domain is never rewritten'); END;
`

// Domain is a domain's name and the app that has it.
type Domain struct {
	Name  string // in its one form
	App   string
	Added time.Time
	Key   string // who added it
	File  bool   // its certificate was given as a file
}

// ErrDomainTaken is in the chain where a domain, or one above it, is of an app that the caller does not own, and no proof was given.
var ErrDomainTaken = errors.New("the domain is taken")

const selectDomains = "SELECT name, app, added, key, certificate = 'file' FROM domains "

// Domains returns the domains of an app by name; of all apps where app is "".
func (s *Store) Domains(ctx context.Context, app string) ([]Domain, error) {
	if app == "" {
		return listDomains(ctx, s.db, "ORDER BY name")
	}
	return listDomains(ctx, s.db, "WHERE app = ? ORDER BY name", app)
}

func listDomains(ctx context.Context, q querier, where string, args ...any) ([]Domain, error) {
	rows, err := q.QueryContext(ctx, selectDomains+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Domain
	for rows.Next() {
		var d Domain
		var added int64
		if err := rows.Scan(&d.Name, &d.App, &added, &d.Key, &d.File); err != nil {
			return nil, err
		}
		d.Added = time.UnixMilli(added)
		all = append(all, d)
	}
	return all, rows.Err()
}

// AddDomain is what AddDomain of a Store needs to know.
type AddDomain struct {
	Name   string   // in its one form
	Above  []string // the names whose owner has a say in it
	Proven bool     // the caller has shown that the name is theirs: it may be taken from another app
	File   bool     // its certificate is a file
	Most   int      // domains that an app may have
}

// AddDomain gives an app a domain for caller, in one transaction with the decision that it may. A domain that the app has already gets the other certificate. It
// returns the app that had the domain before, and ErrDomainTaken (wrapped) where the caller may not have it.
func (s *Store) AddDomain(ctx context.Context, caller app.Caller, name string, in AddDomain) (from string, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		from = ""
		a, err := authorize(ctx, tx, caller, name, app.VerbChange)
		if err != nil {
			return err
		}
		have, err := listDomains(ctx, tx, "WHERE app = ?", name)
		if err != nil {
			return err
		}
		if from, err = s.mayHave(ctx, tx, a, in); err != nil {
			return err
		}
		if from != name && len(have) >= in.Most {
			return app.Errorf(app.CodeLimitExceeded, "remove one that is not needed: gitd domains remove "+name+" NAME", "%s has %d domains already, as many as an app may", name, len(have))
		}
		if from != "" && from != name {
			if err := s.noteDomain(ctx, tx, caller, from, in.Name, "moved to "+name); err != nil {
				return err
			}
		}
		certificate := ""
		if in.File {
			certificate = "file"
		}
		if from != name {
			if _, err := tx.ExecContext(ctx, "DELETE FROM domains WHERE name = ?", in.Name); err != nil {
				return err
			}
		}
		if _, err = tx.ExecContext(ctx, "INSERT INTO domains (name, app, added, key, certificate) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET certificate = excluded.certificate",
			in.Name, name, s.Now().UnixMilli(), caller.Name(), certificate); err != nil {
			return err
		}
		return s.noteDomain(ctx, tx, caller, name, in.Name, "added")
	})
	return from, err
}

// mayHave returns the app that has the domain now, or ErrDomainTaken.
func (s *Store) mayHave(ctx context.Context, tx querier, a app.App, in AddDomain) (from string, err error) {
	for i, name := range append([]string{in.Name}, in.Above...) {
		found, err := listDomains(ctx, tx, "WHERE name = ?", name)
		if err != nil {
			return "", err
		}
		if len(found) == 0 {
			continue
		}
		if i == 0 {
			from = found[0].App
		}
		if found[0].App == a.Name || in.Proven {
			continue
		}
		other, err := oneApp(ctx, tx, found[0].App)
		if err != nil {
			return "", err
		}
		if i == 0 || other.Owner != a.Owner {
			return "", ErrDomainTaken
		}
	}
	return from, nil
}

// RemoveDomain takes a domain from an app for caller, in one transaction with the decision that it may. It returns an *app.Error with code CodeNotFound where
// the app does not have it.
func (s *Store) RemoveDomain(ctx context.Context, caller app.Caller, name, domain string) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		if _, err := authorize(ctx, tx, caller, name, app.VerbChange); err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, "DELETE FROM domains WHERE app = ? AND name = ?", name, domain)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			if err == nil {
				err = app.Errorf(app.CodeNotFound, "see what it has: gitd domains "+name, "%s does not have the domain %s", name, domain)
			}
			return err
		}
		return s.noteDomain(ctx, tx, caller, name, domain, "removed")
	})
}

func (s *Store) noteDomain(ctx context.Context, tx querier, caller app.Caller, name, domain, change string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO domain_changes (app, name, at, key, change) VALUES (?, ?, ?, ?, ?)", name, domain, s.Now().UnixMilli(), caller.Name(), change)
	return err
}

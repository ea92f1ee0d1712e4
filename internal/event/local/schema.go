package local

import (
	"database/sql"
	"errors"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/sqlite"
)

// migrations are applied in order; PRAGMA user_version counts those applied. New ones are added at the end.
var migrations = []string{`
CREATE TABLE brokers (
	name    TEXT PRIMARY KEY,
	key     TEXT NOT NULL,
	created INTEGER NOT NULL,
	events  INTEGER NOT NULL DEFAULT 0,
	bytes   INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO brokers (name, key, created) VALUES ('default', '', 0);
CREATE TABLE tokens (
	broker  TEXT NOT NULL REFERENCES brokers(name) ON DELETE CASCADE,
	name    TEXT NOT NULL,
	hash    BLOB NOT NULL UNIQUE, -- SHA-256 of a token with 256 random bits
	key     TEXT NOT NULL,
	created INTEGER NOT NULL,
	used    INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (broker, name)
) STRICT;
-- what is live of each app
CREATE TABLE owners (
	app      TEXT PRIMARY KEY,
	id       INTEGER NOT NULL,
	release  INTEGER NOT NULL,
	triggers TEXT NOT NULL
) STRICT;
-- a number is never reused: people and logs name events by it
CREATE TABLE events (
	number      INTEGER PRIMARY KEY AUTOINCREMENT,
	broker      TEXT NOT NULL,
	source      TEXT NOT NULL,
	id          TEXT NOT NULL,
	type        TEXT NOT NULL,
	accepted    INTEGER NOT NULL,
	sender      TEXT NOT NULL, -- kind
	sender_name TEXT NOT NULL,
	sender_id   INTEGER NOT NULL,
	size        INTEGER NOT NULL,
	attributes  TEXT NOT NULL, -- the other ones, as JSON
	data        BLOB
) STRICT;
-- what is old is looked for in it alone: rows are long
CREATE INDEX events_age ON events (number, accepted);
-- with the sender: no app can have another's event taken for a duplicate
CREATE UNIQUE INDEX events_once ON events (broker, source, id, sender, sender_name, sender_id);
CREATE TABLE deliveries (
	number   INTEGER PRIMARY KEY AUTOINCREMENT,
	event    INTEGER NOT NULL REFERENCES events(number) ON DELETE CASCADE,
	app      TEXT NOT NULL,
	app_id   INTEGER NOT NULL,
	trigger  TEXT NOT NULL,
	state    INTEGER NOT NULL, -- 0 queued, 1 delivered, 2 taken by what takes dead letters, 3 dead, 4 discarded by hand
	attempts INTEGER NOT NULL DEFAULT 0, -- in this phase
	dead     INTEGER NOT NULL DEFAULT 0, -- it goes to what takes dead letters
	replay   INTEGER NOT NULL DEFAULT 0,
	due      INTEGER NOT NULL,
	at       INTEGER NOT NULL DEFAULT 0, -- the last attempt
	took     INTEGER NOT NULL DEFAULT 0,
	sink     TEXT NOT NULL DEFAULT '',
	status   INTEGER NOT NULL DEFAULT 0,
	error    TEXT NOT NULL DEFAULT '',
	reason   TEXT NOT NULL DEFAULT '', -- of one that is dead
	died     INTEGER NOT NULL DEFAULT 0,
	-- how the app failed, of one that goes to what takes dead letters, or is dead
	failed_sink   TEXT NOT NULL DEFAULT '',
	failed_status INTEGER NOT NULL DEFAULT 0,
	failed_error  TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX deliveries_of_event ON deliveries (event, state, died); -- the state says whether the event may go
CREATE INDEX deliveries_queued ON deliveries (app_id, trigger, due) WHERE state = 0;
CREATE INDEX deliveries_dead ON deliveries (app_id, number) WHERE state = 3;
-- in the database, because a delivery dies of many things: its last attempt, a release without its trigger, the end of its app
CREATE TRIGGER deliveries_died AFTER UPDATE OF state ON deliveries WHEN NEW.state = 3 AND OLD.state <> 3 BEGIN
	UPDATE deliveries SET died = max(NEW.at, unixepoch() * 1000) WHERE number = NEW.number;
END;
-- attempts that failed; the last one is in its delivery
CREATE TABLE attempts (
	delivery INTEGER NOT NULL REFERENCES deliveries(number) ON DELETE CASCADE,
	at       INTEGER NOT NULL,
	took     INTEGER NOT NULL,
	sink     TEXT NOT NULL,
	status   INTEGER NOT NULL,
	error    TEXT NOT NULL
) STRICT;
CREATE INDEX attempts_of_delivery ON attempts (delivery, at);
`, schemaShares}

// The states of deliveries in the table.
const (
	queued = iota
	delivered
	sunk
	dead
	discarded
)

// The connections that read, beside the one that writes.
const readers = 4

// open opens the database in file, creating it if needed.
func open(file string) (write, read *sql.DB, err error) {
	if err := sqlite.Create(file); err != nil {
		return nil, nil, err
	}
	connect := func(connections int) (*sql.DB, error) {
		return sqlite.Open(file, connections, connections, "journal_size_limit(67108864)", "wal_autocheckpoint(4000)", "cache_size(-8192)")
	}
	if write, err = connect(1); err != nil {
		return nil, nil, err
	}
	if _, err = sqlite.Migrate(write, migrations, func(int) error {
		return app.Errorf(app.CodeUnavailable, "start the newer gitd again, or move the file away: what it has not delivered yet is in it", "%s is of a newer gitd", file)
	}); err == nil {
		read, err = connect(readers)
	}
	if err != nil {
		return nil, nil, errors.Join(err, write.Close())
	}
	return write, read, nil
}

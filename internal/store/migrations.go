package store

// migrations are applied in order; PRAGMA user_version counts those applied. New ones are added at the end.
var migrations = []string{initialSchema, appIdentity, releaseStates, boundScopes, signedReleases, releaseKinds, releaseCommits, appPreviews, trafficSplits, configurations, appStops, jobTables, scheduleTable, appDomains, traceIDs, outbox}

const initialSchema = `
CREATE TABLE apps (
	name    TEXT PRIMARY KEY,
	owner   TEXT NOT NULL,
	created INTEGER NOT NULL
) STRICT;
CREATE TABLE keys (
	name        TEXT PRIMARY KEY,
	public      TEXT NOT NULL,
	fingerprint TEXT NOT NULL UNIQUE,
	admin       INTEGER NOT NULL,
	apps        TEXT NOT NULL,
	added       INTEGER NOT NULL
) STRICT;
CREATE TABLE releases (
	app         TEXT NOT NULL REFERENCES apps(name) ON DELETE CASCADE,
	version     INTEGER NOT NULL,
	commit_id   TEXT NOT NULL,
	ref         TEXT NOT NULL,
	key         TEXT NOT NULL,
	rollback_of INTEGER NOT NULL,
	PRIMARY KEY (app, version)
) STRICT;
CREATE TABLE release_events (
	id      INTEGER PRIMARY KEY,
	app     TEXT NOT NULL,
	version INTEGER NOT NULL,
	at      INTEGER NOT NULL,
	state   TEXT NOT NULL,
	reason  TEXT NOT NULL,
	facts   TEXT NOT NULL,
	FOREIGN KEY (app, version) REFERENCES releases(app, version) ON DELETE CASCADE
) STRICT;
CREATE INDEX release_events_by_release ON release_events (app, version, id);
-- the ledger is append-only: entries and events leave only with their app
CREATE TRIGGER releases_are_final BEFORE UPDATE ON releases BEGIN SELECT RAISE(ABORT, 'a release is never rewritten'); END;
CREATE TRIGGER release_events_are_final BEFORE UPDATE ON release_events BEGIN SELECT RAISE(ABORT, 'a release event is never rewritten'); END;
`

// appIdentity gives apps a number besides their name. A number is never reused, even after its app was destroyed:
// rights and host user IDs are bound to it.
const appIdentity = `
ALTER TABLE apps ADD COLUMN id INTEGER NOT NULL DEFAULT 0;
UPDATE apps SET id = (SELECT count(*) FROM apps b WHERE b.created < apps.created OR b.created = apps.created AND b.name <= apps.name);
CREATE UNIQUE INDEX apps_by_id ON apps (id);
CREATE TABLE last_ids (
	kind TEXT PRIMARY KEY,
	id   INTEGER NOT NULL
) STRICT;
INSERT INTO last_ids SELECT 'app', coalesce(max(id), 0) FROM apps;
`

// boundScopes binds keys with a list of apps to those apps, not to their names: an app of the same name that is created later by someone else
// is not included. app_id is 0 until an app of that name exists. Rows are removed only with their key: a key without any has more rights.
// access.version counts changes of rights.
const boundScopes = `
CREATE TABLE key_apps (
	key    TEXT NOT NULL REFERENCES keys(name) ON DELETE CASCADE,
	app    TEXT NOT NULL,
	app_id INTEGER NOT NULL,
	PRIMARY KEY (key, app)
) STRICT;
INSERT INTO key_apps SELECT DISTINCT k.name, j.value, coalesce(a.id, 0)
	FROM keys k, json_each(k.apps) j LEFT JOIN apps a ON a.name = j.value WHERE j.type = 'text';
CREATE INDEX key_apps_by_app ON key_apps (app);
UPDATE keys SET apps = '[]', added = added * 1000000;
CREATE TABLE access (version INTEGER NOT NULL) STRICT;
INSERT INTO access VALUES (1);
CREATE TRIGGER keys_insert_changes_access AFTER INSERT ON keys BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER keys_update_changes_access AFTER UPDATE ON keys BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER keys_delete_changes_access AFTER DELETE ON keys BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER key_apps_insert_changes_access AFTER INSERT ON key_apps BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER key_apps_update_changes_access AFTER UPDATE ON key_apps BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER key_apps_delete_changes_access AFTER DELETE ON key_apps BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER apps_insert_changes_access AFTER INSERT ON apps BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER apps_update_changes_access AFTER UPDATE ON apps BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER apps_delete_changes_access AFTER DELETE ON apps BEGIN UPDATE access SET version = version + 1; END;
`

// signedReleases keeps who signed a push, apart from what the push claims.
const signedReleases = "ALTER TABLE release_states ADD COLUMN signed TEXT NOT NULL DEFAULT ''"

// releaseKinds distinguishes promotions from rollbacks. Before, both were recorded as rollbacks.
const releaseKinds = `
ALTER TABLE release_states ADD COLUMN kind TEXT NOT NULL DEFAULT 'push';
UPDATE release_states SET kind = 'rollback' WHERE (app, version) IN (SELECT app, version FROM releases WHERE rollback_of <> 0);
`

// releaseCommits keeps what the commit of a release says of itself.
const releaseCommits = `
ALTER TABLE release_states ADD COLUMN author TEXT NOT NULL DEFAULT '';
ALTER TABLE release_states ADD COLUMN subject TEXT NOT NULL DEFAULT '';
`

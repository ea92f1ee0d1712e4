package store

// releaseStates adds the current state of each release: the sum of its events, written in the same transaction as each of them. The events
// are the ledger; this table is what is read. The rows of older releases are made from their events: image and
// processes come with the state built or starting, revision and Service with starting.
const releaseStates = `
CREATE TABLE release_states (
	app        TEXT NOT NULL,
	version    INTEGER NOT NULL,
	state      TEXT NOT NULL,
	reason     TEXT NOT NULL,
	message    TEXT NOT NULL,
	repository TEXT NOT NULL,
	digest     TEXT NOT NULL,
	processes  TEXT NOT NULL,    -- JSON
	revision   TEXT NOT NULL,
	service    INTEGER NOT NULL, -- id of the event that has it; 0 for none
	created    INTEGER NOT NULL,
	finished   INTEGER NOT NULL, -- 0 until the state is final
	PRIMARY KEY (app, version),
	FOREIGN KEY (app, version) REFERENCES releases(app, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

INSERT INTO release_states
WITH events AS (
	SELECT app, version, min(id) AS first, max(id) AS last,
		max(id) FILTER (WHERE state = 'built') AS built, max(id) FILTER (WHERE state = 'starting') AS starting
	FROM release_events GROUP BY app, version
)
SELECT e.app, e.version, l.state, l.reason, coalesce(f.facts ->> 'message', ''),
	coalesce(i.facts ->> 'repository', ''), coalesce(i.facts ->> 'digest', ''), coalesce(i.facts -> 'processes', 'null'),
	coalesce(s.facts ->> 'revision', ''), iif(s.facts ->> 'service' IS NULL, 0, s.id),
	f.at, iif(l.state IN ('live', 'ready', 'failed', 'cancelled', 'superseded'), l.at, 0)
FROM events e
CROSS JOIN release_events f ON f.id = e.first
CROSS JOIN release_events l ON l.id = e.last
LEFT JOIN release_events s ON s.id = e.starting
LEFT JOIN release_events i ON i.id = coalesce(e.starting, e.built);

CREATE INDEX release_states_unfinished ON release_states (app, version) WHERE finished = 0;
CREATE INDEX release_states_live ON release_states (app, version) WHERE state = 'live';
CREATE INDEX release_states_served ON release_states (app, version) WHERE state IN ('live', 'ready');
CREATE INDEX release_states_by_revision ON release_states (app, revision, version);
`

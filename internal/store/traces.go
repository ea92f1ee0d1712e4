package store

// traceIDs keeps which trace a release and a job have.
const traceIDs = `
ALTER TABLE release_states ADD COLUMN trace TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN trace TEXT NOT NULL DEFAULT '';
`

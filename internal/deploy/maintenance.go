package deploy

import "time"

// Maintenance is what clients of a Service get instead of its answers, while it is on. What is asked by a tag is answered as before, so that a new
// version can be looked at.
type Maintenance struct {
	// Hold has requests wait for the end of the maintenance for so long; those that waited in vain are answered with 503. 0: all are, at once.
	Hold time.Duration `json:"hold,omitempty"`
	// Release is the version of a release that asked for it while its release command runs; 0 where a person did. Such a one ends with the release, and with gitd.
	Release int       `json:"release,omitempty"`
	By      string    `json:"by,omitempty"` // who turned it on
	Since   time.Time `json:"since"`
}

// Bounds of Maintenance.Hold, which is given in full seconds.
const (
	MaxHold     = 5 * time.Minute
	DefaultHold = 30 * time.Second
)

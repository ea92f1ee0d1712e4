package project

import "time"

// Release is how the release command runs.
type Release struct {
	Maintenance bool          // maintenance is on meanwhile, and until the release is live
	Hold        time.Duration // how long requests wait for that; 0: they are answered with 503
}

// releaseTable is [io.gitd.release].
type releaseTable struct {
	Maintenance *string `toml:"maintenance"`
	Hold        *string `toml:"hold"`
}

// Bounds of a hold.
const (
	defaultHold = 30 * time.Second
	maxHold     = 5 * time.Minute
)

// set overrides the defaults with the table.
func (r *Release) set(t releaseTable) error {
	how := ""
	if err := oneOf("release", "maintenance", t.Maintenance, &how, "off", "page", "hold"); err != nil {
		return err
	}
	if t.Maintenance != nil {
		*r = Release{Maintenance: how != "off"}
		if how == "hold" {
			r.Hold = defaultHold
		}
	}
	if t.Hold == nil {
		return nil
	}
	if r.Hold == 0 {
		return bad("io.gitd.release.hold: it goes with maintenance = \"hold\"")
	}
	return durationOf("release", "hold", t.Hold, time.Second, maxHold, &r.Hold)
}

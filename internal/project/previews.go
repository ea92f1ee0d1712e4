package project

import (
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Previews is which branches have one, and how it differs from what goes live.
type Previews struct {
	Branches []string          // patterns of branches: "*" stands for any characters, "/" too
	TTL      time.Duration     // how long one stays without a push
	Limit    int64             // how many there may be; 0 for the operator's limit
	Workers  bool              // they run as well
	Env      map[string]string // run-time environment, over that of web
}

// previewTable is [io.gitd.previews].
type previewTable struct {
	Branches *[]string         `toml:"branches"`
	TTL      *string           `toml:"ttl"`
	Limit    *int64            `toml:"limit"`
	Workers  bool              `toml:"workers"`
	Env      map[string]string `toml:"env"`
}

// Bounds of [io.gitd.previews].
const (
	defaultPreviewTTL  = 7 * 24 * time.Hour
	maxPreviewTTL      = 365 * 24 * time.Hour
	maxPreviewLimit    = 1000
	maxPreviewPatterns = 50
)

func (p *Previews) set(t previewTable) error {
	if t.Branches != nil {
		if len(*t.Branches) > maxPreviewPatterns {
			return bad("io.gitd.previews.branches: %d patterns, at most %d are possible", len(*t.Branches), maxPreviewPatterns)
		}
		for _, b := range *t.Branches {
			if _, err := path.Match(flat(b), ""); err != nil || b == "" || len(b) > app.MaxBranchLength {
				return bad("io.gitd.previews.branches: %q is not a pattern such as \"feature/*\"", app.Plain(app.Clip(b, 60)))
			}
		}
		p.Branches = *t.Branches
	}
	if t.Limit != nil {
		if *t.Limit < 1 || *t.Limit > maxPreviewLimit {
			return bad("io.gitd.previews.limit: %d is not between 1 and %d; branches = [] makes none", *t.Limit, maxPreviewLimit)
		}
		p.Limit = *t.Limit
	}
	if t.TTL != nil {
		d, err := days(*t.TTL)
		if err != nil || d < time.Hour || d > maxPreviewTTL {
			return bad("io.gitd.previews.ttl: %q is not a time between \"1h\" and \"365d\"", app.Plain(app.Clip(*t.TTL, 60)))
		}
		p.TTL = d
	}
	p.Workers = p.Workers || t.Workers
	return environmentOf("io.gitd.previews.env", t.Env, p.Env)
}

// days reads a time that may be in days: "7d".
func days(s string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.ParseUint(n, 10, 16)
		return time.Duration(days) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// Makes reports whether a branch makes a preview.
func (p *Previews) Makes(branch string) bool {
	for _, pattern := range p.Branches {
		if ok, err := path.Match(flat(pattern), flat(branch)); err == nil && ok {
			return true
		}
	}
	return false
}

// flat has a pattern's "*" match slashes.
func flat(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

package lifecycle

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/pattern"
)

// Output reads what detector and builder write, at the lifecycle's debug level, and passes on what a person wants to see:
// nothing of the detection but its result, all that the buildpacks say, and the lifecycle's errors.
//
// Our buildpacks speak in two lines at detection: "gitd-detect: Go (go.mod, go 1.26)" says what was found, and
// "gitd-looked-for: go.mod" what was not; "gitd-also: nodejs (package.json)" what would fit as well; "gitd-nearest: package.json is in web/" is a hint for when nothing was. A line "gitd-error: …" says what is wrong with the app. At detection it is the end,
// although the lifecycle goes on to other groups of buildpacks: an app whose package.json is malformed must not go live as
// something else that it has a file of.
type Output struct {
	log      *app.Log
	marker   string // the line "MARKER detected CODE" ends the detection
	detected func() // called after a detection that passed

	// mu guards the following.
	mu        sync.Mutex
	partial   []byte
	last      time.Time // of the last line that was passed on
	building  bool
	section   string              // buildpack whose detection output comes now: "ID@VERSION"
	found     map[string][]string // by buildpack
	lookedFor []string
	also      map[string][]string // other languages that the app has files of, by buildpack
	nearest   []string            // what is nearly there of an app that nothing builds
	refused   []string            // buildpacks that did not want the source
	broken    map[string][]string // output of buildpacks whose detection failed with an error
	said      map[string][]string // output of detection, by buildpack
	buildpack string              // the one that builds now
	steps     []build.Step        // buildpacks that have built, or do now
	lines     []string            // the last lines of the build
	errors    []string            // the lifecycle's
	told      string              // the reason that a buildpack gave
	toldBy    string              // "ID@VERSION" of the buildpack that gave it at detection
}

// remembered bounds the lines of each kind that Output keeps.
const remembered = 60

// NewOutput returns an Output that passes on to log. The line "MARKER detected 0" calls detected.
func NewOutput(log *app.Log, marker string, detected func()) *Output {
	return &Output{log: log, marker: marker, detected: detected, last: time.Now(),
		found: map[string][]string{}, also: map[string][]string{}, broken: map[string][]string{}, said: map[string][]string{}}
}

// Write takes raw output, in pieces of any size.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partial = append(o.partial, p...)
	for {
		i := bytes.IndexByte(o.partial, '\n')
		if i < 0 && len(o.partial) < 64<<10 {
			return len(p), nil
		}
		if i < 0 {
			o.line(string(o.partial))
			o.partial = nil
			return len(p), nil
		}
		o.line(string(o.partial[:i]))
		o.partial = o.partial[i+1:]
	}
}

// Flush passes on an unfinished last line.
func (o *Output) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.partial) > 0 {
		o.line(string(o.partial))
		o.partial = nil
	}
}

// Silence says since when nothing was passed on.
func (o *Output) Silence() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// Stuck says whether the last that was heard, longer than quiet ago, was that no process could be started. What did start
// holds the output open, and the lifecycle waits for it: such a build would only end at its time limit.
func (o *Output) Stuck(quiet time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.lines)
	return n > 0 && time.Since(o.last) > quiet && outOfProcesses.MatchString(o.lines[n-1])
}

func (o *Output) line(raw string) {
	s := strings.TrimRight(stripColour(raw), " \r")
	if rest, ok := strings.CutPrefix(s, o.marker+" detected "); ok && !o.building {
		o.section = ""
		o.last = time.Now()
		if code, err := strconv.Atoi(rest); err == nil && code == 0 {
			o.building = true
			o.mu.Unlock() // detected may take a while, and asks for what was found
			o.detected()
			o.mu.Lock()
		}
		return
	}
	if o.building {
		o.buildLine(raw, s)
	} else {
		o.detectLine(s)
	}
}

var (
	heading = pattern.New(`^======== (Output|Error|Results)(?:: (\S+))? ========$`)
	verdict = pattern.New(`^(pass|fail|skip|err): +(\S+)(?: \(-?\d+\))?$`)
)

// percent undoes what the lifecycle does to a per cent sign in a buildpack's output: it takes the output for a format.
var percent = strings.NewReplacer("%!(NOVERB)", "%", "(MISSING)", "", "%!", "%")

func (o *Output) detectLine(s string) {
	if strings.Contains(s, "%!") {
		s = percent.Replace(s)
	}
	if m := heading.FindStringSubmatch(s); m != nil {
		o.section = m[2]
		return
	}
	if o.section == "" {
		if m := verdict.FindStringSubmatch(s); m != nil {
			switch m[1] {
			case "fail", "skip":
				o.refused = add(o.refused, m[2])
			case "err":
				o.broken[m[2]] = o.said[m[2]]
			}
		} else if e, ok := strings.CutPrefix(s, "ERROR: "); ok {
			o.errors = add(o.errors, e)
		}
		return
	}
	if f, ok := strings.CutPrefix(s, "gitd-detect: "); ok {
		o.found[o.section] = add(o.found[o.section], f)
	} else if f, ok := strings.CutPrefix(s, "gitd-also: "); ok {
		o.also[o.section] = add(o.also[o.section], f)
	} else if f, ok := strings.CutPrefix(s, "gitd-looked-for: "); ok {
		o.lookedFor = add(o.lookedFor, f)
	} else if f, ok := strings.CutPrefix(s, "gitd-nearest: "); ok {
		o.nearest = add(o.nearest, f)
	} else if e, ok := strings.CutPrefix(s, "gitd-error: "); ok {
		if o.toldBy == "" {
			o.told, o.toldBy = e, o.section
		}
	} else if s != "" {
		o.said[o.section] = add(o.said[o.section], s)
	}
}

// add adds what is new, to a bound.
func add(list []string, s string) []string {
	if len(list) >= remembered || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// noise is what the lifecycle's builder says beside the buildpacks.
var noise = pattern.New(`^(Starting builder\.\.\.|Parsing inputs\.\.\.|Ensuring privileges\.\.\.|Executing command\.\.\.` +
	`|Timer: .*|target distro name/version labels not found, .*|Looking up buildpack|Finding plan|Creating plan directory` +
	`|Preparing paths|Running build command|Processing layers|Updating environment|Reading output files` +
	`|Updating buildpack processes|Updating process list|Finished running build for buildpack \S+|Copying SBOM files` +
	`|Creating SBOM files for legacy BOM|Listing processes|Found (build|launch) processes?.*|Run image info in analyzed metadata is: ?` +
	`|[{]"Reference":.*[}]|ERROR: failed to build: exit status \d+|Checking for match against descriptor: .*)$`)

func (o *Output) buildLine(raw, s string) {
	if bp, ok := strings.CutPrefix(s, "Running build for buildpack "); ok {
		o.begins(bp)
		return
	}
	if bp, ok := strings.CutPrefix(s, "Finished running build for buildpack "); ok {
		o.finished(bp)
		return
	}
	if e, ok := strings.CutPrefix(s, "ERROR: "); ok {
		o.errors = add(o.errors, e)
	}
	if noise.MatchString(s) {
		return
	}
	if e, ok := strings.CutPrefix(s, "gitd-error: "); ok {
		o.told = e
		o.last = time.Now()
		o.log.Detail("%s", e)
		return
	}
	if s != "" {
		if len(o.lines) >= remembered {
			o.lines = slices.Delete(o.lines, 0, 1)
		}
		o.lines = append(o.lines, s)
	}
	o.last = time.Now()
	o.log.Detail("%s", raw)
}

// Summary is what the buildpacks of the group found: "Go (go.mod, go 1.26)"; their names where they do not say.
func (o *Output) Summary(group []string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, bp := range group {
		for _, f := range o.found[bp] {
			all = add(all, f)
		}
	}
	if len(all) == 0 {
		for _, bp := range group {
			all = append(all, strings.ReplaceAll(bp, "@", " "))
		}
	}
	return strings.Join(all, ", ")
}

// Also is what else the app has files of: "nodejs (package.json)"; "" for nothing.
func (o *Output) Also(group []string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, bp := range group {
		if len(o.also[bp]) > 0 {
			return strings.Join(o.also[bp], ", ")
		}
	}
	return ""
}

// vague is a reason that a tool's own output betters: "go build failed (exit status 1)".
var vague = pattern.New(`\(exit status \d+\)$|\(signal: .*\)$`)

// reason is the line that most likely says why the build failed: what the buildpack told where that says something, the last
// line that looks like an error, or else the last one.
func (o *Output) reason() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told != "" && !vague.MatchString(o.told) {
		return Clip(o.told)
	}
	for i := len(o.lines) - 1; i >= 0 && i >= len(o.lines)-25; i-- {
		if s := strings.TrimSpace(o.lines[i]); errorLike.MatchString(s) && !errorNoise.MatchString(s) {
			return Clip(s)
		}
	}
	if o.told != "" {
		return Clip(o.told)
	}
	for i := len(o.lines) - 1; i >= 0; i-- {
		if s := strings.TrimSpace(o.lines[i]); strings.ContainsFunc(s, func(r rune) bool { return r >= 'A' }) && !errorNoise.MatchString(s) {
			return Clip(s)
		}
	}
	return ""
}

var (
	errorLike = pattern.New(`(?i)\berror\b|\w+(Error|Exception)\b|\bfatal\b|\bfailed\b|\bcannot\b|\bcould not\b|not found|no such|undefined|denied|invalid|unexpected|:\d+:\d+:|too large|unavailable`)
	// errorNoise points at an error without saying what it is.
	errorNoise = pattern.New(`(?i)^ERROR: failed to build|complete log of this run|debug-\d+\.log|^npm (ERR!|error)\s*$|^\^+$|^exit status \d+$|See above for output|This error originates from a subprocess|^note: `)
)

// Clip shortens a line for a message.
func Clip(s string) string {
	s = strings.TrimSpace(app.Plain(strings.ReplaceAll(stripColour(s), "\n", " ")))
	const most = 300 // the remedy often comes last
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-3], "") + "…"
}

var colour = pattern.New("\x1b\\[[0-9;]*m")

func stripColour(s string) string { return colour.ReplaceAllString(s, "") }

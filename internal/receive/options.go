package receive

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// PushOptions is what git push -o asked for.
type PushOptions struct {
	ClearCache bool   // build as if for the first time
	DryRun     bool   // build, and deploy nothing
	NoTraffic  bool   // start and check it, and leave the traffic where it is
	Detach     bool   // go on when the client goes away
	Canary     int64  // percent of the traffic that it is tried out with; 0 for none
	Steps      string // of the traffic on the way to 100: "10,50"; "" for none
	AtOnce     bool   // all traffic in one step, whatever the app's settings say
	Redeploy   bool   // deploy again what is live, where there is nothing to push
	Message    string // what the release is about; "" where none was given

	Parent  telemetry.Parent // the client's span that the push is a part of
	Warning string           // lines that say which options are ignored
}

// mode is how far the push goes.
func (o PushOptions) mode() app.Mode {
	switch {
	case o.DryRun:
		return app.ModeDryRun
	case o.NoTraffic:
		return app.ModeNoTraffic
	}
	return app.ModeLive
}

// pushOption is one that exists.
type pushOption struct {
	name  string
	value string // what its value is called; "" where it takes none
	set   func(o *PushOptions, value string) error
}

// optionRedeploy is the one that counts without anything to push.
const optionRedeploy = "redeploy"

// pushOptions are all there are.
var pushOptions = []pushOption{
	{"clear-cache", "", func(o *PushOptions, _ string) error { o.ClearCache = true; return nil }},
	{"dry-run", "", func(o *PushOptions, _ string) error { o.DryRun = true; return nil }},
	{"no-traffic", "", func(o *PushOptions, _ string) error { o.NoTraffic = true; return nil }},
	{"detach", "", func(o *PushOptions, _ string) error { o.Detach = true; return nil }},
	{"canary", "PERCENT", func(o *PushOptions, text string) error { return parseCanary(text, &o.Canary) }},
	{"steps", "10,50", func(o *PushOptions, text string) error { o.Steps = text; _, err := parseSteps(text); return err }},
	{"at-once", "", func(o *PushOptions, _ string) error { o.AtOnce = true; return nil }},
	{optionRedeploy, "", func(o *PushOptions, _ string) error { o.Redeploy = true; return nil }},
	{"message", "TEXT", func(o *PushOptions, text string) error { o.Message = text; return checkMessage(text) }},
	{"traceparent", "00-TRACE-SPAN-01", func(o *PushOptions, text string) error { o.setParent(text); return nil }},
	{"tracestate", "KEY=VALUE", func(o *PushOptions, text string) error { o.setState(text); return nil }},
}

// maxMessage bounds the message of a release, in characters.
const maxMessage = 200

// parsePushOptions reads the options of a push as the client sent them, and refuses the first that is wrong: what a slip
// asked for must not be deployed without it.
func parsePushOptions(sent []string) (PushOptions, error) {
	var o PushOptions
	given := map[string]bool{}
	for _, text := range sent {
		name, value, hasValue := strings.Cut(text, "=")
		option := findPushOption(name)
		shown := app.Plain(app.Clip(name, 60))
		switch {
		case option == nil:
			return o, refusedOption("unknown push option %q", shown)
		case given[name]:
			return o, refusedOption("push option %q is given twice", shown)
		case option.value == "" && hasValue:
			return o, refusedOption("push option %q takes no value", shown)
		case option.value != "" && !hasValue:
			return o, refusedOption("push option %q needs a value: -o %s=%s", shown, option.name, option.value)
		}
		given[name] = true
		if err := option.set(&o, value); err != nil {
			return o, err
		}
	}
	if o.DryRun && o.Detach {
		return o, refusedOption("push options dry-run and detach exclude each other: the result of a dry run is told to the client that waits for it")
	}
	if o.DryRun && o.NoTraffic {
		return o, refusedOption("push options dry-run and no-traffic exclude each other: a dry run starts nothing")
	}
	return o, o.checkRollout()
}

func findPushOption(name string) *pushOption {
	for i := range pushOptions {
		if pushOptions[i].name == name {
			return &pushOptions[i]
		}
	}
	return nil
}

// refusedOption is an error that lists what exists.
func refusedOption(format string, args ...any) error {
	var all []string
	for _, o := range pushOptions {
		text := "-o " + o.name
		if o.value != "" {
			text += "=" + o.value
		}
		all = append(all, text)
	}
	return app.Errorf(app.CodeInvalidInput, "the push options are: "+strings.Join(all, ", "), format, args...)
}

// checkMessage keeps what is shown in one line of a table to one line.
func checkMessage(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return app.Errorf(app.CodeInvalidInput, "say what the release is about: -o message=TEXT", "push option \"message\" is empty")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }):
		return app.Errorf(app.CodeInvalidInput, "write one line of text: -o message=TEXT", "push option \"message\" must be one line of UTF-8 text, without control characters")
	case strings.Contains(looksLike(text), "[signed"):
		return app.Errorf(app.CodeInvalidInput, "sign it: git push --signed", "push option \"message\" must not contain \"[signed\", which is reserved for signed pushes")
	case utf8.RuneCountInString(text) > maxMessage:
		return app.Errorf(app.CodeInvalidInput, "shorten the message", "push option \"message\" is longer than %d characters", maxMessage)
	}
	return nil
}

// looksLike is text as it is read: in the plain forms of letters, without what is invisible, in lower case.
func looksLike(text string) string { return strings.ToLower(norm.NFKC.String(app.Plain(text))) }

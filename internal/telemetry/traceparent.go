package telemetry

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
)

// TraceID names a trace, SpanID a span in it.
type (
	TraceID [16]byte
	SpanID  [8]byte
)

// String is the ID in hexadecimal.
func (t TraceID) String() string { return hex.EncodeToString(t[:]) }

// String is the ID in hexadecimal.
func (s SpanID) String() string { return hex.EncodeToString(s[:]) }

// Parent is a span of the client's that ours are under. The zero value is none.
type Parent struct {
	Trace   TraceID
	Span    SpanID
	Sampled bool   // it is recorded: so are ours
	State   string // tracestate, passed on as it is
}

// sampled is the flag of a traceparent that says so.
const sampled = 1

// ParseTraceparent reads a traceparent as W3C Trace Context has it: 00-TRACE-SPAN-FLAGS. Of a version to come it reads what is there of this one.
func ParseTraceparent(text string) (p Parent, err error) {
	var version, flags [1]byte
	parts := strings.Split(text, "-")
	if len(parts) < 4 {
		return p, errors.New("it is not VERSION-TRACE-SPAN-FLAGS")
	}
	for i, to := range [][]byte{version[:], p.Trace[:], p.Span[:], flags[:]} {
		if len(parts[i]) != 2*len(to) || parts[i] != strings.ToLower(parts[i]) {
			return Parent{}, errors.New("its parts are not of 2, 32, 16 and 2 digits of hexadecimal, in lower case")
		}
		if _, err := hex.Decode(to, []byte(parts[i])); err != nil {
			return Parent{}, errors.New("its parts are not of 2, 32, 16 and 2 digits of hexadecimal, in lower case")
		}
	}
	switch {
	case version[0] == 0xff:
		return Parent{}, errors.New("there is no version ff")
	case version[0] == 0 && len(parts) > 4:
		return Parent{}, errors.New("something follows the flags")
	case p.Trace == TraceID{} || p.Span == SpanID{}:
		return Parent{}, errors.New("an ID is zero")
	}
	p.Sampled = flags[0]&sampled != 0
	return p, nil
}

// Bounds of a tracestate.
const (
	maxState   = 512 // bytes
	maxMembers = 32
)

// CheckTracestate says what is wrong with a tracestate, if anything: it is a list of KEY=VALUE.
func CheckTracestate(text string) error {
	members := strings.Split(text, ",")
	if len(text) > maxState || len(members) > maxMembers {
		return errors.New("it is longer than 512 bytes or 32 members")
	}
	for _, m := range members {
		k, v, ok := strings.Cut(strings.TrimSpace(m), "=")
		if strings.TrimSpace(m) == "" {
			continue
		}
		if !ok || k == "" || strings.Trim(k, "abcdefghijklmnopqrstuvwxyz0123456789_-*/@") != "" ||
			strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' || r == '=' }) {
			return errors.New("it is not KEY=VALUE,KEY=VALUE")
		}
	}
	return nil
}

// NewTraceID returns the ID of a trace that is to begin.
func NewTraceID() (id TraceID) {
	_, _ = rand.Read(id[:])
	return id
}

// ParseTraceID reads what String gives; false where it is none.
func ParseTraceID(text string) (id TraceID, ok bool) {
	if len(text) != 2*len(id) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(text))
	return id, err == nil && id != TraceID{}
}

package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// The names of what lines of the log have besides their message, where they have it.
const (
	LogTrace = "trace_id"
	logPart  = "part"
)

// NewLog returns a logger that writes lines for people, as the standard library's log does, or, with inJSON, objects. counted counts the lines; nil for none.
func NewLog(w io.Writer, inJSON bool, counted *Counter) *slog.Logger {
	var h slog.Handler = &lines{log: log.New(w, "", log.LstdFlags)}
	if inJSON {
		h = slog.NewJSONHandler(w, nil)
	}
	return slog.New(&counting{h, counted})
}

// Printf returns a function that logs a formatted message. Arguments that are a slog.Attr are no part of the message: they are what the line has besides it, in
// JSON. One that is a slog.Level is the line's; else a line with an error among its arguments is a warning, and any other is information.
func Printf(l *slog.Logger) func(format string, args ...any) {
	return func(format string, args ...any) {
		level, attributes, args := Split(args)
		message := fmt.Sprintf(format, args...)
		if part, _, ok := strings.Cut(message, ": "); ok && part != "" && strings.Trim(part, "abcdefghijklmnopqrstuvwxyz") == "" {
			attributes = append(attributes, slog.String(logPart, part))
		}
		l.LogAttrs(context.Background(), level, message, attributes...)
	}
}

// Split takes what is no part of a message from the arguments of Printf's function.
func Split(args []any) (level slog.Level, attributes []slog.Attr, rest []any) {
	given := false
	for _, a := range args {
		switch x := a.(type) {
		case slog.Attr:
			if x.Value.Kind() != slog.KindString || x.Value.String() != "" {
				attributes = append(attributes, x)
			}
			continue
		case slog.Level:
			level, given = x, true
			continue
		case error:
			if !given {
				level = slog.LevelWarn
			}
		}
		rest = append(rest, a)
	}
	return level, attributes, rest
}

// Messages returns a function as Printf's that passes on messages alone.
func Messages(print func(format string, args ...any)) func(format string, args ...any) {
	return func(format string, args ...any) {
		_, _, args = Split(args)
		print(format, args...)
	}
}

// lines writes messages as the standard library's log does, without what they have besides.
type lines struct{ log *log.Logger }

func (h *lines) Enabled(context.Context, slog.Level) bool { return true }

func (h *lines) Handle(_ context.Context, r slog.Record) error { return h.log.Output(0, r.Message) }

func (h *lines) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *lines) WithGroup(string) slog.Handler { return h }

// counting counts what it passes on.
type counting struct {
	slog.Handler
	counted *Counter
}

func (h *counting) Handle(ctx context.Context, r slog.Record) error {
	h.counted.Inc(strings.ToLower(r.Level.String()))
	return h.Handler.Handle(ctx, r)
}

// Steps returns a writer for an app.Log whose lines become messages of a logger.
func Steps(l *slog.Logger) io.Writer { return &steps{l: l} }

type steps struct {
	l  *slog.Logger
	mu sync.Mutex
	// mu guards the following.
	rest []byte
}

func (s *steps) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, p...)
	for {
		line, rest, ok := bytes.Cut(s.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		s.rest = rest
		level := slog.LevelInfo
		text := string(line)
		if strings.HasPrefix(text, " ! ") {
			level = slog.LevelError
		}
		text = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(text, "----->"), " !"))
		if text != "" {
			s.l.Log(context.Background(), level, text)
		}
	}
}

// Took is a duration for a line of the log, in milliseconds.
func Took(d time.Duration) slog.Attr {
	return slog.Float64("duration_ms", float64(d.Microseconds())/1000)
}

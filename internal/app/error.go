package app

import (
	"errors"
	"fmt"
	"strings"
)

// Code says what kind of failure an Error is. Codes reach people in events and stay stable.
type Code string

// The codes. New ones are added at the end, with their exit status in exit.go.
const (
	CodeInternal      Code = "internal"       // a defect or a failing disk: the cause is in the server's log
	CodeInvalidName   Code = "invalid-name"   // a name that cannot be an app's or a key's
	CodeNotFound      Code = "not-found"      // no such app, release or key
	CodeExists        Code = "exists"         // the name is taken
	CodeForbidden     Code = "forbidden"      // the key is known but has no right to do this
	CodeInvalidInput  Code = "invalid-input"  // a bad argument, ref, pack or file in the app
	CodeDetectFailed  Code = "detect-failed"  // no buildpack matched the source
	CodeBuildFailed   Code = "build-failed"   // a buildpack failed
	CodeExportFailed  Code = "export-failed"  // the image could not be written
	CodeLimitExceeded Code = "limit-exceeded" // over a memory, time, disk or size limit
	CodeStartFailed   Code = "start-failed"   // the new revision did not come up
	CodeUnhealthy     Code = "unhealthy"      // it came up and failed its check
	CodeSuperseded    Code = "superseded"     // a newer push replaced this one
	CodeCancelled     Code = "cancelled"      // the client went away
	CodeUnavailable   Code = "unavailable"    // the server is shutting down, or something that it needs is missing
	CodeImageMissing  Code = "image-missing"  // a release's image is not in the registry any more
	CodeReleaseFailed Code = "release-failed" // the release command failed
	CodeDryRun        Code = "dry-run"        // all went well, and it was asked for that nothing be deployed
)

// Error is a failure told to a person: what failed, why, and what to do next. Any other error is an internal error: people are told only that,
// and the server's log has its text.
type Error struct {
	Code    Code
	Message string // one line: what failed and why; no trailing full stop
	Next    string // one line: what to do next; never empty
	Err     error  // the cause, for the server's log; may be nil
}

// askOperator is what to do next where nothing better is known.
const askOperator = "the server's log has the details; ask the operator to look"

// Errorf makes an Error. next says what to do, and must not be empty. A %w in format keeps the cause for the server's log; what people read of it is its
// reason alone: "no such file or directory" of "open /srv/x: no such file or directory".
func Errorf(code Code, next, format string, args ...any) *Error {
	for i, a := range args {
		if err, ok := a.(error); ok {
			if r := reason(err); r != err.Error() {
				args[i] = &shortened{r, err}
			}
		}
	}
	err := fmt.Errorf(format, args...)
	cause := errors.Unwrap(err)
	if s, ok := cause.(*shortened); ok {
		cause = s.error
	}
	return &Error{Code: code, Message: err.Error(), Next: orAsk(next), Err: cause}
}

// Wrap is Errorf with a cause that is for the server's log alone: nothing of it is in the message.
func Wrap(cause error, code Code, next, format string, args ...any) *Error {
	e := Errorf(code, next, format, args...)
	e.Err = cause
	return e
}

func orAsk(next string) string {
	if next == "" {
		return askOperator
	}
	return next
}

// Error returns the message: one line, what failed and why.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first *Error in err's chain, CodeInternal if there is none, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// Explain splits err into the line that says what failed and why, and the line that says what to do next.
// An error that was not made for people becomes an internal error that names no detail.
func Explain(err error) (message, next string) {
	var e *Error
	if errors.As(err, &e) {
		return e.Message, orAsk(e.Next)
	}
	return "internal error", askOperator
}

// Cause returns what Explain leaves out, for the server's log: the context that was added to an *Error on its way (fmt.Errorf("…: %w", err)), and its cause
// in the cause's own words; of any other error, all of it. "" where there is nothing to add.
func Cause(err error) string {
	if err == nil {
		return ""
	}
	var e *Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	told := e.Message
	var parts []string
	add := func(s string) {
		if s != "" && !strings.Contains(told, s) {
			parts = append(parts, s)
			told += "\n" + s
		}
	}
	add(strings.TrimSuffix(strings.TrimSuffix(err.Error(), e.Message), ": "))
	for e.Err != nil {
		add(e.Err.Error())
		var below *Error
		if !errors.As(e.Err, &below) {
			break
		}
		e = below
	}
	return strings.Join(parts, ": ")
}

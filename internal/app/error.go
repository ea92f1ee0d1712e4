package app

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an Error is. Codes reach people in events and stay stable.
type Code string

// The codes. New ones are added at the end.
const (
	CodeInternal      Code = "internal"       // a defect or a failing disk: the cause is in the server's log
	CodeInvalidName   Code = "invalid-name"   // a name that cannot be an app's or a key's
	CodeNotFound      Code = "not-found"      // no such app, release or key
	CodeExists        Code = "exists"         // the name is taken
	CodeForbidden     Code = "forbidden"      // the key is known but has no right to do this
	CodeInvalidInput  Code = "invalid-input"  // a bad argument, ref, pack or file in the app
	CodeDetectFailed  Code = "detect-failed"  // no buildpack wants the source
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

// Error is a failure told to a person: what failed (with why), and what to do next. Anything that is not an *Error is a
// defect and is shown as an internal error.
type Error struct {
	Code    Code
	Message string // one line: what failed and why; no trailing full stop
	Next    string // one line: what to do next; may be empty
	Err     error  // the cause, for the server's log; may be nil
}

// Errorf makes an Error. next says what to do; a %w in format keeps the cause.
func Errorf(code Code, next, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Next: next, Err: errors.Unwrap(err)}
}

// Error returns the message: one line, what failed and why.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first *Error in err's chain, Internal where there is none, and "" for nil.
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
		return e.Message, e.Next
	}
	return "internal error", "the server's log has the details; ask the operator to look"
}

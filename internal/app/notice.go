package app

import (
	"context"
	"sync/atomic"
)

type noticeKey struct{}

type notice struct {
	tell func(format string, args ...any)
	told atomic.Bool
}

// WithNotice returns a context for one call, whose waits are reported to tell: a revision that starts slowly, an API server that is away.
// It is a value of the context because some of these waits are in an HTTP transport, which gets nothing else from its caller
// (net/http/httptrace does the same).
func WithNotice(ctx context.Context, tell func(format string, args ...any)) context.Context {
	return context.WithValue(ctx, noticeKey{}, &notice{tell: tell})
}

// Notice returns the function set by WithNotice; nil if there is none.
func Notice(ctx context.Context) func(format string, args ...any) {
	if n, ok := ctx.Value(noticeKey{}).(*notice); ok {
		return n.tell
	}
	return nil
}

// NoticeOnce reports the first time that it is called for a context of WithNotice, and does nothing without one.
func NoticeOnce(ctx context.Context, format string, args ...any) {
	if n, ok := ctx.Value(noticeKey{}).(*notice); ok && n.told.CompareAndSwap(false, true) {
		n.tell(format, args...)
	}
}

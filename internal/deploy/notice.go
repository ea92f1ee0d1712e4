package deploy

import "context"

type noticeKey struct{}

// WithNotice sets who is told what a platform waits for during a call, and what it found changed by others. Rollout tells its log.
func WithNotice(ctx context.Context, tell func(format string, args ...any)) context.Context {
	return context.WithValue(ctx, noticeKey{}, tell)
}

// Notice returns whom WithNotice set; nil where nobody did.
func Notice(ctx context.Context) func(format string, args ...any) {
	tell, _ := ctx.Value(noticeKey{}).(func(format string, args ...any))
	return tell
}

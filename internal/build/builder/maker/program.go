// Package maker makes our builder image: Debian bootstrapped by mmdebstrap, toolchains from the languages' package registries, put together by
// pack. It is the program gitd-builder, so that none of it is in the server.
package maker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/build/builder/wire"
)

// Serve does what the request on in asks for, and tells about it on out. It returns the exit status.
//
// It runs functions of this program in processes of their own: main must call reexec.Init.
func Serve(ctx context.Context, in io.Reader, out io.Writer) int {
	w := &replies{out: json.NewEncoder(out)}
	var q wire.Request
	err := json.NewDecoder(in).Decode(&q)
	if err == nil {
		var made string
		if made, err = serve(ctx, q, app.NewLog(w)); err == nil {
			w.send(wire.Reply{Made: made})
			return 0
		}
	}
	w.send(wire.Reply{Failed: failure(err)})
	return 1
}

func serve(ctx context.Context, q wire.Request, log *app.Log) (made string, err error) {
	c, err := cache.Open(q.Cache, log)
	if err != nil {
		return "", err
	}
	if len(q.Packages) > 0 {
		return makeBase(ctx, c, q.Force, q.Packages)
	}
	return makeBuilder(ctx, c, q.Base, q.Force)
}

func failure(err error) *wire.Failed {
	var e *app.Error
	if errors.As(err, &e) {
		return &wire.Failed{Code: e.Code, Message: e.Message, Next: e.Next}
	}
	return &wire.Failed{Code: app.CodeInternal, Message: err.Error()}
}

// replies is where a log writes to: it makes a reply of each line.
type replies struct {
	mu sync.Mutex
	// mu guards the following.
	out *json.Encoder
}

func (r *replies) Write(line []byte) (int, error) {
	r.send(wire.Reply{Line: string(line)})
	return len(line), nil
}

func (r *replies) send(reply wire.Reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.out.Encode(reply) // who reads it ends this process when it goes away
}

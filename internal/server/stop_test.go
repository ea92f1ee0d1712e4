package server

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/parts/partstest"
)

// A server that is asked to stop while it makes the builder image, which takes minutes, ends as one that has nothing to do.
func TestServe_StopWhileTheBuilderIsMade(t *testing.T) {
	partstest.Serving(t)
	o := offlineOptions(filepath.Join(t.TempDir(), "data"), nil, t.Logf)
	o.Config.Server.MinFree = 1
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	making := make(chan struct{})
	s.factory = factoryFunc(func(ctx context.Context, _ *app.Log) (engine, error) {
		close(making)
		<-ctx.Done()
		return nil, errors.New("mmdebstrap: signal: terminated")
	})
	var l Listeners
	for _, to := range []*net.Listener{&l.SSH, &l.Control, &l.HTTP} {
		if *to, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var log bytes.Buffer
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l, &http.Server{}, app.NewLog(&log)) }()
	<-making
	stop()
	select {
	case err := <-ended:
		if err != nil || !strings.Contains(log.String(), "-----> Stopping\n") {
			t.Errorf("%v\n%s", err, log.String())
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not stop")
	}
}

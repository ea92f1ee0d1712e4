package local

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/proxy/dataplane"
)

// Calls and deliveries reach an app that has HTTPS, and cannot pass for what a trusted proxy says: the address that gitd gives them may be one's own.
func TestInside(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto"), " ", r.Header["X-Forwarded-For"], r.Header["Remote-User"])
	}))
	t.Cleanup(app.Close)
	at := app.Listener.Addr().String()
	revision := dataplane.NewRevision(dataplane.RevisionOptions{}, time.Now())
	revision.SetInstances([]*dataplane.Instance{dataplane.NewInstance(at, false, func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", at) })})
	plane := dataplane.New([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	plane.ServeTLS(Secure{Port: 443})
	plane.Publish(&dataplane.Table{Hosts: map[string]dataplane.Split{"shop.test": {{Revision: revision, Percent: 100}}}})
	plane.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{"*.test": {}}})
	p := &Platform{opts: Options{Domain: "test"}, plane: plane, services: map[string]*service{"shop": {}}}
	const want = "https [127.0.0.1] []"
	forged := func(url string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
		r.RemoteAddr = "127.0.0.1:0"
		r.Header.Set("X-Forwarded-For", "6.6.6.6")
		r.Header.Set("Remote-User", "ada")
		return r
	}
	res, err := p.Send(t.Context(), "shop", forged("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK || string(b) != want {
		t.Errorf("a call: %d %q, %v", res.StatusCode, b, err)
	}
	w := httptest.NewRecorder()
	p.Inside(w, forged("http://shop.test/"))
	if w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("a delivery: %d %q", w.Code, w.Body)
	}
}

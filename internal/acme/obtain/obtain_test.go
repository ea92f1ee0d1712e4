package obtain

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/gitd-io/gitd/internal/acme/wire"
	"github.com/gitd-io/gitd/internal/certificate"
	"github.com/gitd-io/gitd/internal/dns/dnstest"
	"github.com/mholt/acmez/v3/acme"
)

// What authorities refuse is told in words; a limit makes the pause longer.
func TestWords(t *testing.T) {
	for kind, want := range map[string]string{
		acme.ProblemTypeCAA:          "a CAA record in the DNS forbids the authority to issue for shop.example (the detail; and more)",
		acme.ProblemTypeRateLimited:  "a limit of the authority is reached (the detail; and more)",
		acme.ProblemTypeConnection:   "the authority cannot reach shop.example (the detail; and more)",
		acme.ProblemTypeUnauthorized: "the authority does not find the proof at shop.example: it may lead elsewhere (the detail; and more)",
		"urn:something":              "the authority refuses (the detail; and more)",
	} {
		p := acme.Problem{Type: kind, Detail: "the\ndetail", Subproblems: []acme.Subproblem{{Problem: acme.Problem{Detail: "and more"}}}}
		err := fmt.Errorf("obtain: %w", p)
		if got := words("shop.example", err); got != want {
			t.Errorf("%s: %q", kind, got)
		}
		if limited(err) != (kind == acme.ProblemTypeRateLimited) {
			t.Errorf("%s: limited: %v", kind, limited(err))
		}
	}
	if got := words("shop.example", errors.New("dial tcp:\nconnection refused")); got != "dial tcp: connection refused" {
		t.Errorf("%q", got)
	}
}

// Pauses grow, hold over a restart, and are longer after a limit.
func TestFailed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "attempts.json")
	p := &program{out: json.NewEncoder(discard{}), notes: openNotes(file), names: map[string]*name{}}
	n := &name{Name: wire.Name{Name: "shop.example"}, p: p}
	var last time.Duration
	for i := range 8 {
		pause := n.failed(errors.New("no"))
		if pause < pauses[min(i, len(pauses)-1)] || pause < last*9/10 || pause > 7*time.Hour {
			t.Errorf("pause %d: %s after %s", i, pause, last)
		}
		last = pause
	}
	if a := openNotes(file).of("shop.example"); a.Failures != 8 || a.Failed != "no" || time.Until(a.Next) < 5*time.Hour {
		t.Errorf("%+v", a)
	}
	p.notes.set("shop.example", attempt{})
	if pause := n.failed(acme.Problem{Type: acme.ProblemTypeRateLimited}); pause < limitPause {
		t.Errorf("%s after a limit", pause)
	}
	p.notes.keep(nil)
	if a := openNotes(file).of("shop.example"); a.Failures != 0 {
		t.Errorf("%+v", a)
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// CAA records that forbid all authorities are found before any of them is asked.
func TestAllowed(t *testing.T) {
	r, err := dnstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, records := range map[string][]string{
		"one.example": {"CAA issue ca.example"}, "none.example": {"CAA issue ;"}, "other.example": {"CAA issue other.example; validationmethods=dns-01"},
		"wild.example": {"CAA issue ca.example", "CAA issuewild other.example"}, "mail.example": {"CAA iodef mailto:x@mail.example"}, "a.other.example": {"CAA issue CA.example"},
	} {
		if err := r.Set(name, records...); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		names := map[string][]string{"/known": {"ca.example"}, "/silent": nil}[q.URL.Path]
		_ = json.NewEncoder(w).Encode(map[string]any{"meta": map[string]any{"caaIdentities": names}})
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	i := &issuers{roots: roots, resolver: r.Address}
	for name, why := range map[string]string{
		"one.example": "", "www.one.example": "", "free.example": "", "mail.example": "", "wild.example": "", "a.other.example": "",
		"none.example": "it allows no authority, and not ca.example", "other.example": "it allows other.example, and not ca.example", "b.other.example": "the CAA record of other.example forbids it", "*.wild.example": "it allows other.example",
	} {
		err := i.allowed(t.Context(), []string{server.URL + "/known"}, name)
		if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v; want %q", name, err, why)
		}
	}
	for _, directories := range [][]string{{server.URL + "/known", server.URL + "/silent"}, {"https://127.0.0.1:1/dir"}} {
		if err := i.allowed(t.Context(), directories, "none.example"); err != nil {
			t.Errorf("one that does not say its name: %v", err)
		}
	}
	r.Break(true)
	if err := i.allowed(t.Context(), []string{server.URL + "/known"}, "none.example"); err != nil {
		t.Errorf("the DNS does not answer: %v", err)
	}
}

// Bad orders end the program.
func TestRun_BadOrders(t *testing.T) {
	for _, in := range []string{"nonsense\n", `{"names":[]}` + "\n"} {
		if err := Run(context.Background(), strings.NewReader(in), discard{}); err == nil {
			t.Errorf("%q is accepted", in)
		}
	}
	if err := Run(context.Background(), strings.NewReader(""), discard{}); err != nil {
		t.Error(err)
	}
}

// A program with a certificate that it keeps, gitd's end of its input, and the names of what it reports.
func withCertificate(t *testing.T, out io.Writer) (say func(orders ...string)) {
	t.Helper()
	const directory = "https://127.0.0.1:1/dir"
	dir := t.TempDir()
	ca, err := certificate.OpenAuthority(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Issue("shop.example")
	if err != nil {
		t.Fatal(err)
	}
	s, of := &certmagic.FileStorage{Path: dir}, (&certmagic.ACMEIssuer{CA: directory}).IssuerKey()
	for key, b := range map[string][]byte{
		certmagic.StorageKeys.SiteCert(of, "shop.example"): p.Chain, certmagic.StorageKeys.SitePrivateKey(of, "shop.example"): p.Key, certmagic.StorageKeys.SiteMeta(of, "shop.example"): []byte("{}"),
	} {
		if err := s.Store(t.Context(), key, b); err != nil {
			t.Fatal(err)
		}
	}
	in, orders := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Run(context.Background(), in, out) }()
	t.Cleanup(func() {
		_ = orders.Close()
		if c, ok := out.(io.Closer); ok {
			_ = c.Close()
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	say = func(all ...string) {
		t.Helper()
		said := make(chan error, 1)
		go func() {
			_, err := io.WriteString(orders, strings.Join(all, "\n")+"\n")
			said <- err
		}()
		select {
		case err := <-said:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("the program does not take its orders")
		}
	}
	config, err := json.Marshal(wire.Order{Config: &wire.Config{Dir: dir, Directories: []string{directory}, Every: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	say(string(config))
	return say
}

// Orders are obeyed while gitd does not read what is reported.
func TestRun_ReportsThatAreNotRead(t *testing.T) {
	_, out := io.Pipe()
	say := withCertificate(t, out)
	for range 20 {
		say(`{"names":[{"name":"shop.example"}]}`)
		time.Sleep(10 * time.Millisecond)
		say(`{"done":1}`, `{"again":"shop.example"}`, `{"names":[]}`)
	}
}

// A certificate that gitd has forgotten is reported again: its name has another number then. The same list again reports nothing.
func TestRun_ForgottenCertificates(t *testing.T) {
	in, out := io.Pipe()
	say := withCertificate(t, out)
	reports := make(chan string, 10)
	go func() {
		for lines := json.NewDecoder(in); ; {
			var r wire.Report
			if lines.Decode(&r) != nil {
				return
			}
			if r.Certificate != nil {
				reports <- r.Certificate.Name
			}
		}
	}()
	reported := func(within time.Duration) bool {
		select {
		case <-reports:
			return true
		case <-time.After(within):
			return false
		}
	}
	say(`{"names":[{"name":"shop.example","number":1}]}`)
	if !reported(20 * time.Second) {
		t.Fatal("the certificate is not reported")
	}
	say(`{"names":[{"name":"shop.example","number":1}]}`, `{"again":"shop.example"}`)
	if reported(300 * time.Millisecond) {
		t.Error("the certificate is reported again, and gitd has it")
	}
	say(`{"names":[{"name":"shop.example","number":2}]}`)
	if !reported(20 * time.Second) {
		t.Error("gitd has forgotten the certificate, and it is not reported again")
	}
}

// A pause that an earlier process has noted goes on, also when the clock goes back by less than that. One that no attempt makes was noted by a clock that was ahead, which is often why the attempt failed: it is over.
func TestRun_ClockGoesBack(t *testing.T) {
	for left, goesOn := range map[time.Duration]bool{time.Minute: true, 6 * time.Hour: true, -time.Minute: false, 24 * time.Hour: false, 365 * 24 * time.Hour: false} {
		dir := t.TempDir()
		noted := openNotes(filepath.Join(dir, "attempts.json"))
		noted.set("shop.example", attempt{Failures: 9, Failed: "noted", Next: time.Now().Add(left)})
		config, err := json.Marshal(wire.Order{Config: &wire.Config{Dir: dir, Directories: []string{"https://127.0.0.1:1/dir"}, Every: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		orders, say := io.Pipe()
		in, out := io.Pipe()
		ended := make(chan struct{})
		go func() { defer close(ended); _ = Run(context.Background(), orders, out) }()
		_, _ = fmt.Fprintf(say, "%s\n{\"names\":[{\"name\":\"shop.example\"}]}\n", config)
		for reports := json.NewDecoder(in); ; {
			var r wire.Report
			if err := reports.Decode(&r); err != nil {
				t.Fatal(err)
			}
			if r.Tried != nil {
				if got := r.Tried.Failed == "noted"; got != goesOn {
					t.Errorf("a pause of %s goes on: %t", left, got)
				}
				break
			}
		}
		_ = say.Close()
		_ = in.Close()
		<-ended
	}
}

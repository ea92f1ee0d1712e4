package certificate

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

func authority(t *testing.T, dir string, now *time.Time) *Authority {
	t.Helper()
	a, err := OpenAuthority(dir, func() time.Time { return *now })
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What an authority issues is trusted by those who trust its root, also after a restart; a clock that goes back makes nothing worse.
func TestAuthority(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	a := authority(t, dir, &now)
	p, err := a.Issue("*.apps.example", "apps.example")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority(t, dir, &now).Root())
	for name, ok := range map[string]bool{"shop.apps.example": true, "apps.example": true, "a.b.apps.example": false, "other.example": false} {
		if _, err := p.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !p.Covers("*.apps.example") || p.Covers("*.example") || !strings.HasPrefix(p.Issuer(), "gitd") {
		t.Errorf("%q: %v", p.Leaf.DNSNames, p.Issuer())
	}
	for in, due := range map[time.Duration]bool{0: false, 59 * 24 * time.Hour: false, 61 * 24 * time.Hour: true, -2 * time.Hour: true, 100 * 24 * time.Hour: true} {
		if p.Due(now.Add(in)) != due {
			t.Errorf("due after %s: %v", in, !due)
		}
	}
	now = now.AddDate(-1, 0, 0)
	if p, err = a.Issue("apps.example"); err != nil || p.Due(now) || p.Leaf.NotBefore.After(now) {
		t.Errorf("%+v, %v", p, err)
	}
	if err := os.WriteFile(filepath.Join(dir, authorityFile), []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir, time.Now); app.CodeOf(err) != app.CodeUnavailable {
		t.Errorf("a damaged file: %v", err)
	}
}

func TestParse(t *testing.T) {
	now := time.Now()
	a := authority(t, t.TempDir(), &now)
	one, err := a.Issue("one.example")
	if err != nil {
		t.Fatal(err)
	}
	two, err := a.Issue("two.example")
	if err != nil {
		t.Fatal(err)
	}
	both := append(bytes.Clone(one.Key), one.Chain...)
	for _, in := range [][2][]byte{{one.Chain, one.Key}, {both, nil}, {append([]byte("some text\n"), both...), nil}, {bytes.TrimSuffix(one.Chain, []byte("\n")), one.Key}} {
		if p, err := Parse(in[0], in[1]); err != nil || !p.Covers("one.example") {
			t.Errorf("%v", err)
		}
	}
	for why, in := range map[string][2][]byte{
		"no certificate": {one.Key, nil}, "no key": {one.Chain, nil}, "does not belong": {one.Chain, two.Key}, "encrypted": {one.Chain, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")},
		"cannot be read": {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), one.Key}, "more than": {bytes.Repeat([]byte("x"), MaxSize), one.Key},
	} {
		if _, err := Parse(in[0], in[1]); app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), why) {
			t.Errorf("%v; want %q", err, why)
		}
	}
}

// Names of every length are kept; what cannot be read is left out, and what another process was writing is gone.
func TestFolder(t *testing.T) {
	now := time.Now()
	a := authority(t, t.TempDir(), &now)
	f := Folder(filepath.Join(t.TempDir(), "certificates"))
	if all, err := f.Load(t.Logf); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	names := []string{"shop.example", "*.shop.example", strings.Repeat("a.", 123) + "example"}
	for _, name := range names {
		p, err := a.Issue(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Save(name, p); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bad.example.pem", ".new-123"} {
		if err := os.WriteFile(filepath.Join(string(f), name), []byte("name: bad.example\nnothing"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := f.Load(t.Logf)
	if err != nil || len(all) != len(names) {
		t.Errorf("%v, %v", all, err)
	}
	for _, name := range names {
		if p := all[name]; p == nil || !p.Covers(name) {
			t.Errorf("%s: %v", name, p)
		}
	}
	info, err := os.Stat(f.file("shop.example"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := f.Remove("shop.example"); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove("shop.example"); err != nil {
		t.Error(err)
	}
	if all, err := f.Load(t.Logf); err != nil || all["shop.example"] != nil {
		t.Errorf("%v, %v", all, err)
	}
}

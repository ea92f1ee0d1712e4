package fetch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestFile: what is asked for again, what is refused, and what is left then.
func TestFile(t *testing.T) {
	sum := sha256.Sum256([]byte("content"))
	right := hex.EncodeToString(sum[:])
	asked := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		switch {
		case r.URL.Path == "/missing":
			http.NotFound(w, r)
		case r.URL.Path == "/forbidden":
			http.Error(w, "no", http.StatusForbidden)
		case r.URL.Path == "/down", r.URL.Path == "/again" && asked[r.URL.Path] == 1:
			http.Error(w, "down", http.StatusServiceUnavailable)
		case r.URL.Path == "/cut" && asked[r.URL.Path] == 1:
			w.Header().Set("Content-Length", "7")
			_, _ = w.Write([]byte("con"))
		default:
			_, _ = w.Write([]byte("content"))
		}
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "folder.txt")
	if err := os.WriteFile(file, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := New(kit.Env{})
	c.pause = 0
	for _, tt := range []struct {
		address, sum string
		most         int64
		tries        int
		want         string // of the error; "" for none
	}{
		{s.URL + "/file", right, 7, 1, ""},
		{s.URL + "/upper", strings.ToUpper(right), 7, 1, ""},
		{s.URL + "/again", right, 7, 2, ""},
		{s.URL + "/cut", right, 7, 2, ""},
		{"file://" + file, right, 7, 0, ""},
		{"file:///nonexistent/x", right, 7, 0, "the server does not have it"},
		{s.URL + "/long", right, 6, 1, "is longer than 6 bytes"},
		{s.URL + "/other", strings.Repeat("0", 64), 7, 1, "does not have the digest that its index says"},
		{s.URL + "/nodigest", "", 7, 0, "has no digest of it"},
		{s.URL + "/missing", right, 7, 1, "the server does not have it"},
		{s.URL + "/forbidden", right, 7, 1, "127.0.0.1 cannot be reached: it answers 403 Forbidden"},
		{s.URL + "/down", right, 7, tries, "127.0.0.1 cannot be reached: it answers 503 Service Unavailable"},
		{"http://nothing.invalid/x", right, 7, 0, "nothing.invalid cannot be reached"},
		{"ftp://x/y", right, 7, 0, "is not an address of the web"},
	} {
		to := filepath.Join(t.TempDir(), "to")
		err := c.File(tt.address, tt.sum, to, tt.most)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(kit.Line(err), tt.want)) {
			t.Errorf("%s: %v, want %s", tt.address, err, tt.want)
		}
		if kept := kit.Text(to) == "content"; kept != (err == nil) || err != nil && kit.Exists(to) {
			t.Errorf("%s: the file is there: %v", tt.address, kit.Exists(to))
		}
		if name := strings.TrimPrefix(tt.address, s.URL); asked[name] != tt.tries {
			t.Errorf("%s: asked %d times, want %d", tt.address, asked[name], tt.tries)
		}
	}
	if _, err := c.Text(s.URL+"/missing", 10); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}

package java

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlay: a new app of Play gets a secret and answers for all hosts; what the app says of either stands.
func TestPlay(t *testing.T) {
	for _, tt := range []struct {
		conf, variable string // the variable that has the secret; "" where the app has one
		hosts          bool
	}{
		{"# https://www.playframework.com/documentation/latest/Configuration\n", "APPLICATION_SECRET", true},
		{"play.http.secret.key = \"YWRmNTNm\"\nplay.filters.hosts {\n  allowed = [\".\"]\n}\n", "", false},
		{"play.http.secret.key=\"changeme\"\nplay.http.secret.key=${?MY_SECRET}\n", "MY_SECRET", true},
		{"# play.http.secret.key=\"x\"\nplay.filters.disabled += play.filters.hosts.AllowedHostsFilter\n", "APPLICATION_SECRET", false},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "conf"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "conf/application.conf"), []byte(tt.conf), 0o644); err != nil {
			t.Fatal(err)
		}
		got := (&build{Buildpack: Buildpack{Out: io.Discard}, app: dir}).playOptions()
		if strings.Contains(got, "filters.hosts") != tt.hosts || strings.Contains(got, "secret.key") != (tt.variable != "") || !strings.Contains(got, "${"+tt.variable) {
			t.Errorf("%s: %s", tt.conf, got)
		}
	}
}

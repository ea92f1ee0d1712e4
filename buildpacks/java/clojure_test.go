package java

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestDepsAlias: which alias of deps.edn makes the jar, or runs the app.
func TestDepsAlias(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{:deps {}}`, " "},
		{`{:aliases {:run {:main-opts ["-m" "a.core"]}}}`, "run main-opts"},
		{`{:aliases {:run-m {:main-opts ["-m" "a"]} :run-x {:exec-fn a/b}}}`, " "},
		{`{:aliases {:test {:extra-paths ["test"]} :run ; starts it` + "\n" + `{:jvm-opts ["-Da={"] :exec-fn a/b} :x {:main-opts []}}}`, "run exec-fn"},
		{`{:aliases {:run {:extra-deps {}} :x {:main-opts []}}}`, " "},
	} {
		alias, key := depsAlias(tt.text, "run")
		if got := alias + " " + key; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.text, got, tt.want)
		}
	}
}

// TestMainSpace: the namespace with a function -main.
func TestMainSpace(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"one", map[string]string{"src/shop/http.clj": "(ns ^:dev shop.http\n  (:gen-class))\n(defn -main [& args])", "src/shop/db.clj": "(ns shop.db)"}, "shop.http"},
		{"by its name", map[string]string{"src/a.clj": "(ns shop.migrate)(defn -main [])", "src/b.clj": "(ns shop.core)(defn ^:export -main [])"}, "shop.core"},
		{"none", map[string]string{"src/a.clj": "(ns a)"}, "no namespace has a function -main"},
		{"unclear", map[string]string{"src/a.clj": "(ns one)(defn -main [])", "src/b.clj": "(ns two)(defn -main [])"}, "several namespaces have a function -main: one, two"},
	} {
		dir := t.TempDir()
		for name, text := range tt.files {
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := mainSpace(dir, []string{"src", "resources"})
		if err != nil {
			got = kit.Line(err)
		}
		if got != tt.want && !strings.HasPrefix(got, tt.want+"; ") {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestClojureCommands: what a Procfile calls clojure with.
func TestClojureCommands(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Procfile"), []byte("web: clojure -M:prod:run --port $PORT\nworker: clj -X:work\nother: bin/clojure -M -m shop.other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(clojureCommands(dir), " "); got != "-M:prod:run -X:work -M" {
		t.Errorf("%q", got)
	}
}

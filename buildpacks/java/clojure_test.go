package java

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
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

const clojureApp = `(ns shop.core (:import [com.sun.net.httpserver HttpServer HttpHandler] [java.net InetSocketAddress]) (:gen-class))
(defn -main [& _]
  (doto (HttpServer/create (InetSocketAddress. (Integer/parseInt (System/getenv "PORT"))) 0)
    (.createContext "/" (reify HttpHandler (handle [_ x]
      (let [b (.getBytes (str "clojure " (clojure-version)))]
        (.sendResponseHeaders x 200 (count b))
        (with-open [o (.getResponseBody x)] (.write o b))))))
    (.start)))
`

// TestClojure_Long: an app of Leiningen becomes one jar, one of deps.edn runs from its sources, by the namespace with -main or as the Procfile calls clojure.
func TestClojure_Long(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
	}{
		{"Leiningen", map[string]string{"project.clj": `(defproject shop "1" :dependencies [[org.clojure/clojure "1.12.0"]] :main ^:skip-aot shop.core :target-path "target/%s" :profiles {:uberjar {:aot :all}})`}},
		{"deps.edn", map[string]string{"deps.edn": `{:deps {org.clojure/clojure {:mvn/version "1.12.0"}}}`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bptest.Debian(t)
			b, out := tools(t)
			r := bptest.New(t, catalog.Java)
			tt.files["src/shop/core.clj"] = clojureApp
			built, err := r.Build(b, tt.files)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got := answer(t, r, b.Runtime.(machine).home, built.Processes["web"]); got != "clojure 1.12.0" {
				t.Errorf("the app says %q", got)
			}
			if tt.files["deps.edn"] == "" {
				return
			}
			tt.files["Procfile"] = "web: clojure -M -m shop.core\n"
			if _, err = r.Build(b, tt.files); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			web := libcnb.Process{Command: filepath.Join(r.Layers, "clojure/bin/clojure"), Arguments: []string{"-M", "-m", "shop.core"}}
			if got := answer(t, r, b.Runtime.(machine).home, web); got != "clojure 1.12.0" {
				t.Errorf("by the Procfile the app says %q", got)
			}
		})
	}
}

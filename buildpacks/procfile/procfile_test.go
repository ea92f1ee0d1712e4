package procfile

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, in string
		want     string // type=command, joined by |
		err      string // a part of it
	}{
		{"simple", "web: ./server\nworker: ./work -x\n", "web=./server|worker=./work -x", ""},
		{"comments, empty lines, CRLF, BOM", "\xef\xbb\xbf# hello\r\n\r\nweb:a b\r\n", "web=a b", ""},
		{"colons in the command", "web: curl http://x:1", "web=curl http://x:1", ""},
		{"no colon", "web: a\nserve b\n", "", `line 2 of the Procfile is not of the form type: command: "serve b"`},
		{"no command", "\n\nweb:\n", "", "line 3 of the Procfile has no command for web"},
		{"bad type", "we b: a\n", "", "line 1 of the Procfile has a bad process type"},
		{"twice", "web: a\nweb: b\n", "", "line 2 of the Procfile defines web again, after line 1"},
		{"empty", "# nothing\n", "", "names no process"},
		{"binary", "web: \xff\xfe\n", "", "not a text file"},
		{"null", "web: a\x00b\n", "", "null character"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			procs, err := Parse([]byte(tt.in))
			var got []string
			for _, p := range procs {
				got = append(got, p.Type+"="+p.Command)
			}
			if strings.Join(got, "|") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func TestStart(t *testing.T) {
	tests := []struct{ in, want string }{
		{"./server -v", "./server|-v"},
		{`gunicorn "my app:app" --x='y z'`, "gunicorn|my app:app|--x=y z"},
		{"server --port $PORT", "bash|-c|exec server --port $PORT"},
		{"A=1 server", "bash|-c|A=1 server"},
		{"migrate && server", "bash|-c|migrate && server"},
		{"cd x", "bash|-c|cd x"},
		{"exec server", "bash|-c|exec server"},
		{`server "unfinished`, `bash|-c|exec server "unfinished`},
		{"server *.conf", "bash|-c|exec server *.conf"},
		{`server ''`, "server|"},
	}
	for _, tt := range tests {
		p := Start("web", tt.in)
		if got := strings.Join(append([]string{p.Command}, p.Arguments...), "|"); got != tt.want || !p.Direct {
			t.Errorf("%s: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestBuildpack(t *testing.T) {
	out := &bytes.Buffer{}
	b := Buildpack{Out: out}
	r := bptest.New(t, catalog.Procfile)
	if passed, err := r.Detect(b, map[string]string{"a": ""}); passed || err != nil {
		t.Errorf("without a Procfile: %v %v", passed, err)
	}
	// Malformed: passes, so that an optional buildpack is not left out in silence, and fails the build.
	bad := map[string]string{"Procfile": "web\n"}
	if passed, err := r.Detect(b, bad); !passed || err != nil {
		t.Errorf("malformed: %v %v", passed, err)
	}
	if _, err := r.Build(b, bad); err == nil || !strings.HasPrefix(kit.Line(err), "line 1 of the Procfile") {
		t.Errorf("malformed: %v", err)
	}
	built, err := r.Build(b, map[string]string{"Procfile": "worker: w\nweb: s -p $PORT\n"})
	if err != nil {
		t.Fatal(err)
	}
	if web := built.Processes["web"]; !web.Default || web.Command != "bash" || built.Processes["worker"].Default {
		t.Errorf("%+v", built.Processes)
	}
	b.Check = func(string, kit.Env) error { return kit.Errorf("", "package.json is not valid JSON") }
	if passed, err := r.Detect(b, map[string]string{"Procfile": "web: a\n"}); passed || err == nil {
		t.Errorf("with a broken package.json: %v %v", passed, err)
	}
}

// FuzzParse: no input brings the parser down, and what it accepts can be started.
func FuzzParse(f *testing.F) {
	f.Add([]byte("web: ./server\n"))
	f.Add([]byte("a:b\r\n#\n\nc : 'd' \"e\" $F"))
	f.Fuzz(func(t *testing.T, data []byte) {
		procs, err := Parse(data)
		if err != nil {
			return
		}
		for _, p := range procs {
			if s := Start(p.Type, p.Command); s.Command == "" && !strings.ContainsAny(p.Command, `'"`) {
				t.Errorf("%q starts nothing", p.Command)
			}
		}
	})
}

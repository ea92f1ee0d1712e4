package dotnet

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// standIn is the program dotnet of a stand-in for the SDK: "publish" notes its arguments and makes what the SDK would, a program in Python where that
// has one in C#; "dotnet NAME.dll" starts it.
const standIn = `#!/bin/sh
here=$(dirname "$0")
case "$1" in
*.dll) exec python3 "$@" ;;
tool) echo "Restore was successful."; exit 0 ;;
publish) ;;
*) echo "no such command: $1" >&2; exit 1 ;;
esac
project=$2
out=
echo "$*" >>"$DOTNET_CLI_HOME/calls"
while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
dir=$(dirname "$project")
if [ -f "$dir/fails" ]; then cat "$dir/fails"; exit 1; fi
name=$(basename "${project%.*}")
mkdir -p "$out"
echo "  $name -> $out/"
[ ! -d "$dir/obj" ] || touch "$dir/obj/$name.dll"
if grep -q BlazorWebAssembly "$project"; then
	mkdir -p "$out/wwwroot/_framework"
	echo page >"$out/wwwroot/index.html"
	echo wasm >"$out/wwwroot/_framework/dotnet.wasm"
	exit 0
fi
cp "$dir/Program.cs" "$out/$name.dll"
[ ! -f "$dir/appsettings.json" ] || cp "$dir/appsettings.json" "$out/"
line=$(sed -n 's/.*<TargetFramework[s]*>\(net[a-z0-9.]*\).*/\1/p' "$project")
[ -n "$line" ] || line=net10.0 # a program in one file
version=$(echo "$line" | tr -d a-z).0
framework=Microsoft.NETCore.App
grep -q 'Sdk.Web' "$project" && framework=Microsoft.AspNetCore.App
printf '{"runtimeOptions":{"tfm":"%s","frameworks":[{"name":"Microsoft.NETCore.App","version":"%s"},{"name":"%s","version":"%s"}]}}' "$line" "$version" "$framework" "$version" >"$out/$name.runtimeconfig.json"
printf '{"libraries":{"%s/1.0.0":{"type":"project"},"Dapper/2.1.35":{"type":"package"}}}' "$name" >"$out/$name.deps.json"
`

// served is a mirror of .NET's releases with stand-ins.
type served struct {
	url string
	dir string

	mu    sync.Mutex
	asked []string
}

// released is a line of the mirror.
type released struct {
	channel, phase, kind, end string
	runtime                   string
	sdks                      []string
}

var allReleased = []released{
	{"11.0", "preview", "sts", "", "11.0.0-preview.6.1", []string{"11.0.100-preview.6.1"}},
	{"10.0", "active", "lts", "2028-11-14", "10.0.10", []string{"10.0.302", "10.0.110"}},
	{"9.0", "maintenance", "sts", "2026-11-10", "9.0.18", []string{"9.0.316", "9.0.205", "9.0.118"}},
	{"8.0", "maintenance", "lts", "2026-11-10", "8.0.29", []string{"8.0.423", "8.0.129", "8.0.100"}},
	{"6.0", "eol", "lts", "2024-11-12", "6.0.36", []string{"6.0.428"}},
	{"3.1", "eol", "lts", "2022-12-13", "3.1.32", []string{"3.1.426"}},
}

// mirror serves the lines. damage is a part of the names of archives that are not what their digest says.
func mirror(t *testing.T, lines []released, damage string) *served {
	t.Helper()
	s := &served{dir: t.TempDir()}
	files := http.FileServer(http.Dir(s.dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.URL.Path)
		s.mu.Unlock()
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	var index []channel
	for _, l := range lines {
		index = append(index, channel{Version: l.channel, Phase: l.phase, Type: l.kind, End: l.end, File: releasesServer + "/dotnet/release-metadata/" + l.channel + "/releases.json"})
		runtimes := map[string]string{"shared/" + coreApp + "/" + l.runtime + "/System.dll": "core", "host/fxr/" + l.runtime + "/libhostfxr.so": "host"}
		with := map[string]string{"shared/" + aspnetApp + "/" + l.runtime + "/Kestrel.dll": "aspnet"}
		release := map[string]any{
			"runtime":            s.component(t, "dotnet-runtime-", l.runtime, damage, runtimes),
			"aspnetcore-runtime": s.component(t, "aspnetcore-runtime-", l.runtime, damage, runtimes, with),
		}
		var sdks []map[string]any
		for i, v := range l.sdks {
			within := []map[string]string{{"sdk/" + v + "/dotnet.dll": "sdk", "sdk/" + v + "/de/x.resources.dll": "german", "templates/x": ""}}
			if i == 0 { // the newest has the newest runtime
				within = append(within, runtimes, with)
			}
			c := s.component(t, "dotnet-sdk-", v, damage, within...)
			c["runtime-version"] = l.runtime
			sdks = append(sdks, c)
		}
		release["sdk"], release["sdks"] = sdks[0], sdks
		s.writeJSON(t, "dotnet/release-metadata/"+l.channel+"/releases.json", map[string]any{"releases": []any{release}})
	}
	s.writeJSON(t, strings.TrimPrefix(indexPath, "/"), map[string]any{"releases-index": index})
	return s
}

// component writes an archive, and returns its entry.
func (s *served) component(t *testing.T, name, version, damage string, trees ...map[string]string) map[string]any {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "dotnet"), standIn, 0o755)
	for _, tree := range trees {
		for f, text := range tree {
			put(t, filepath.Join(dir, f), text, 0o644)
		}
	}
	path := fmt.Sprintf("/dotnet/%s%s-%s.tar.gz", name, version, machine())
	archive := filepath.Join(s.dir, path)
	put(t, archive, "", 0o644)
	if out, err := exec.Command("tar", "-czf", archive, "-C", dir, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	data, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512(data)
	if damage != "" && strings.Contains(path, damage) {
		put(t, archive, "damaged", 0o644)
	}
	return map[string]any{"version": version, "files": []file{{Name: name + machine() + ".tar.gz", RID: machine(), URL: releasesServer + path, Hash: hex.EncodeToString(sum[:])}}}
}

func (s *served) writeJSON(t *testing.T, name string, value any) {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(s.dir, name), string(data), 0o644)
}

// fetched lists the archives that were asked for since the last time.
func (s *served) fetched() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.asked {
		if strings.HasSuffix(a, ".tar.gz") {
			names = append(names, strings.TrimSuffix(filepath.Base(a), "-"+machine()+".tar.gz"))
		}
	}
	s.asked = nil
	return names
}

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// noLibraries stands for ICU.
type noLibraries struct{}

func (noLibraries) Build(*build) error { return nil }

func (noLibraries) Launch(b *build) (*kit.Layer, error) { return kit.OpenLayer(b.ctx, "icu") }

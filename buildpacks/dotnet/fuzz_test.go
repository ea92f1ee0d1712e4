package dotnet

import (
	"encoding/json"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// FuzzProject: no project file makes its reader fail, and what it says of itself is one line.
func FuzzProject(f *testing.F) {
	for _, seed := range []string{webProject("net8.0"), `<Project><Sdk Name="x/1"/><PropertyGroup><A>$(B)$(A)</A><B>$(A)</B><TargetFramework>$(A)</TargetFramework></PropertyGroup></Project>`, "<a", "<?xml encoding='x'?><!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := &project{path: "a.csproj", properties: map[string]string{}}
		if p.readText(t.TempDir(), "a.csproj", text) != nil {
			return
		}
		p.kind()
		_, _ = p.framework()
	})
}

// FuzzGlobal: JSON stays what it is without its comments.
func FuzzGlobal(f *testing.F) {
	for _, seed := range []string{`{"a": "//x", /* y */ "b": [1, 2,],}`, "{// x\n}", `{"a\"/*": 1}`, "/*", `"\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if json.Valid([]byte(text)) && !json.Valid(withoutComments(text)) {
			t.Errorf("%q becomes %q", text, withoutComments(text))
		}
		if len(text) < 1000 {
			_, err := readGlobal(bptest.Tree(t, map[string]string{globalFile: text}))
			_ = kit.Line(orNone(err))
		}
	})
}

func orNone(err error) error {
	if err == nil {
		return kit.Errorf("", "none")
	}
	return err
}

package project

import (
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/app"
)

func TestParseFor_Build(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		dir        string
		buildpacks []Buildpack
		remark     string // part of one; "" for none
		err        string
	}{
		{"Nothing", "", "", nil, "", ""},
		{"Folder", "[io.gitd.build]\napp-dir = \"./services/api/\"\n", "services/api", nil, "", ""},
		{"Root", "[io.gitd.build]\napp-dir = \".\"\n", "", nil, "", ""},
		{"OfTheApp", "[io.gitd.build]\napp-dir = \"web\"\n[io.gitd.apps.api]\napp-dir = \"services/api\"\n", "services/api", nil, "", ""},
		{"OfAnotherApp", "[io.gitd.build]\napp-dir = \"web\"\n[io.gitd.apps.other]\napp-dir = \"x\"\n", "web", nil, "", ""},
		{"Outside", "[io.gitd.build]\napp-dir = \"a/../../b\"\n", "", nil, "", "is not a folder of the repository"},
		{"Absolute", "[io.gitd.build]\napp-dir = \"/etc\"\n", "", nil, "", "is not a folder of the repository"},
		{"Control", "[io.gitd.build]\napp-dir = \"a\\nb\"\n", "", nil, "", "is not a folder of the repository"},
		{"AppSlip", "[io.gitd.apps.api]\ndir = \"x\"\n", "", nil, "", "unknown setting io.gitd.apps.api.dir"},
		{"Short", "[io.gitd.build]\nbuildpacks = [\"nodejs\", \"python\"]\n", "", []Buildpack{{"nodejs", ""}, {"python", ""}}, "", ""},
		{"Standard", "[[io.buildpacks.group]]\nid = \"gitd/nodejs\"\nversion = \"0.1.0\"\n", "", []Buildpack{{"gitd/nodejs", "0.1.0"}}, "", ""},
		{"Old", "[[build.buildpacks]]\nid = \"gitd/go\"\n", "", []Buildpack{{"gitd/go", ""}}, "", ""},
		{"Both", "[[io.buildpacks.group]]\nid = \"gitd/nodejs\"\n[io.gitd.build]\nbuildpacks = [\"go\"]\n", "", nil, "", "keep one of them"},
		{"URI", "[[io.buildpacks.group]]\nuri = \"https://example.com/x.tgz\"\n", "", nil, "", "a buildpack by uri or script is not possible"},
		{"Script", "[[io.buildpacks.group]]\nid = \"x\"\n[io.buildpacks.group.script]\ninline = \"date\"\n", "", nil, "", "x: a buildpack by uri or script is not possible"},
		{"Many", "[io.gitd.build]\nbuildpacks = [" + strings.Repeat("\"go\",", 21) + "]\n", "", nil, "", "21 buildpacks, at most 20"},
		{"Builder", "[io.buildpacks]\nbuilder = \"paketobuildpacks/builder\"\n", "", nil, "the builder that it names is not used", ""},
		{"PreAndPost", "[[io.buildpacks.post.group]]\nid = \"x\"\n", "", nil, "io.buildpacks.pre and io.buildpacks.post are not used", ""},
		{"Schema", "[_]\nschema-version = \"0.3\"\n", "", nil, "the schema version 0.3 is read as 0.2", ""},
		{"UnknownStandard", "[io.buildpacks]\nincludes = [\"x\"]\n", "", nil, "the key io.buildpacks.includes is not known", ""},
		{"Metadata", "[_]\nschema-version = \"0.2\"\nid = \"x\"\n[[_.licenses]]\ntype = \"MIT\"\n[com.other]\nx = 1\n[project]\nid = \"x\"\n", "", nil, "", ""},
		{"BOM", "\ufeff[io.gitd.build]\r\napp-dir = \"web\"\r\n", "web", nil, "", ""},
		{"UTF16", "\xff\xfe[\x00i\x00", "", nil, "", "saved as UTF-16: save it as UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := ParseFor(tt.text, "api")
			if tt.err != "" {
				if app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("err = %v", err)
				}
				return
			}
			if err != nil || d.AppDir != tt.dir || !reflect.DeepEqual(d.Buildpacks, tt.buildpacks) || (tt.remark == "") != (len(d.Remarks) == 0) || !strings.Contains(strings.Join(d.Remarks, "\n"), tt.remark) {
				t.Errorf("%q %v %q %v", d.AppDir, d.Buildpacks, d.Remarks, err)
			}
		})
	}
}

// TestRead_Folder: the descriptor in the app's folder counts more than the one at the root.
func TestRead_Folder(t *testing.T) {
	const root = "[io.gitd.build]\napp-dir = \"api\"\npackages = [\"ffmpeg\"]\n[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"root\"\n[[io.buildpacks.build.env]]\nname = \"B\"\nvalue = \"root\"\n" +
		"[io.gitd.web]\nport = 9000\nmin-scale = 1\nmax-scale = 3\n[io.gitd.web.env]\nX = \"root\"\nY = \"root\"\n"
	read := func(inner string) (Descriptor, error) {
		return Read(func(name string, _ int64) ([]byte, error) {
			switch {
			case name == File:
				return []byte(root), nil
			case name == "api/project.toml" && inner != "":
				return []byte(inner), nil
			}
			return nil, fs.ErrNotExist
		}, slices.Values[[]string](nil), "app")
	}
	d, err := read("\ufeff[io.gitd.build]\npackages = [\"jq\"]\nbuildpacks = [\"go\"]\napp-dir = \"x\"\n[[io.buildpacks.build.env]]\nname = \"B\"\nvalue = \"api\"\n[io.gitd.web]\nport = 9001\n[io.gitd.web.env]\nY = \"api\"\n[io.gitd.processes.worker]\ninstances = 0\n")
	if err != nil {
		t.Fatal(err)
	}
	if d.AppDir != "api" || d.Web.Port != 9001 || d.Web.MinScale != 1 || d.Web.MaxScale != 3 || !d.Web.MaxScaleSaid || d.BuildEnv["A"] != "root" || d.BuildEnv["B"] != "api" ||
		d.Web.Env["X"] != "root" || d.Web.Env["Y"] != "api" || len(d.Buildpacks) != 1 || *d.Processes["worker"].Instances != 0 || len(d.Processes) != 1 || d.BuildEnv[catalog.PackagesVariable] != "ffmpeg jq" {
		t.Errorf("%+v", d)
	}
	if want := []string{"api/project.toml: app-dir has no effect here: write it into project.toml at the root of the repository"}; !reflect.DeepEqual(d.Remarks, want) {
		t.Errorf("%q", d.Remarks)
	}
	if d, err := read(""); err != nil || d.Web.Port != 9000 {
		t.Errorf("%+v %v", d, err)
	}
	for text, want := range map[string]string{"[io.gitd.web]\nport = \"x\"\n": "api/project.toml: ", "[io.gitd.nonsense]\nx = 1\n": "api/project.toml: unknown setting io.gitd.nonsense", "[io.gitd.web]\nport = 0\n": "api/project.toml: io.gitd.web.port"} {
		if _, err := read(text); app.CodeOf(err) != app.CodeInvalidInput || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

package project

import (
	"reflect"
	"strings"
	"testing"

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

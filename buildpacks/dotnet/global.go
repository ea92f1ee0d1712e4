package dotnet

import (
	"encoding/json"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// global is what global.json says of the SDK.
type global struct {
	version string // "" for any
	roll    string // in lower case
	preview bool   // previews will do
}

var sdkVersion = pattern.New(`^(\d{1,2})\.(\d{1,2})\.(\d{3})(-[A-Za-z0-9.-]+)?$`)

// readGlobal reads global.json, which may have comments: that of the app, else the nearest one above it. A value that cannot be is a *kit.Error.
func readGlobal(app string) (global, error) {
	var g global
	text := kit.Text(app, globalFile)
	if outer := outerFiles(app, globalFile); !kit.IsFile(app, globalFile) {
		if len(outer) == 0 {
			return g, nil
		}
		text = kit.Text(outer[len(outer)-1])
	}
	var file struct {
		SDK struct {
			Version         string
			RollForward     string
			AllowPrerelease *bool
		}
	}
	if err := json.Unmarshal(withoutComments(text), &file); err != nil {
		return g, kit.Errorf(`correct it: {"sdk": {"version": "10.0.100", "rollForward": "latestFeature"}}`, "%s cannot be read: %v", globalFile, err)
	}
	g.version, g.roll = strings.TrimSpace(file.SDK.Version), strings.ToLower(file.SDK.RollForward)
	g.preview = strings.Contains(g.version, "-")
	if g.version == "" {
		return g, nil
	}
	if !sdkVersion.MatchString(g.version) {
		return g, kit.Errorf("write a whole version, such as 10.0.100; rollForward allows newer ones", "%s asks for the SDK %q, which is not a version of it", globalFile, g.version)
	}
	switch g.roll {
	case "":
		g.roll = "latestpatch"
	case "disable", "patch", "feature", "minor", "major", "latestpatch", "latestfeature", "latestminor", "latestmajor":
	default:
		return g, kit.Errorf("write patch, feature, minor, major, latestPatch, latestFeature, latestMinor, latestMajor or disable", "%s has rollForward %q, which the SDK does not know", globalFile, file.SDK.RollForward)
	}
	return g, nil
}

// withoutComments takes comments and commas before a closing bracket out of JSON, as the SDK does.
func withoutComments(text string) []byte {
	var out []byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			start := i
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			out = append(out, text[start:min(i+1, len(text))]...)
		case strings.HasPrefix(text[i:], "//"):
			for i < len(text) && text[i] != '\n' {
				i++
			}
			out = append(out, '\n')
		case strings.HasPrefix(text[i:], "/*"):
			end := strings.Index(text[i+2:], "*/")
			if end < 0 {
				return out
			}
			i += end + 3
		case c == '}' || c == ']':
			trimmed := strings.TrimRight(string(out), " \t\r\n")
			out = append([]byte(strings.TrimSuffix(trimmed, ",")), c)
		default:
			out = append(out, c)
		}
	}
	return out
}

// level is a part of an SDK's version: 8.0.423 is of the major 8, the minor 0, the band 4 and the patch 23.
func levels(version string) (l [4]int) {
	n := numbers(version)
	if len(n) < 3 {
		return l
	}
	return [4]int{n[0], n[1], n[2] / 100, n[2] % 100}
}

// allows tells how far an SDK is from what is asked for: the first part in which it may differ and does, 4 for the same version. ok is false for one that
// is not allowed.
func (g global) allows(version string) (at int, ok bool) {
	want, have := levels(g.version), levels(version)
	at = 4
	for i := range want {
		if want[i] != have[i] {
			at = i
			break
		}
	}
	if at == 4 {
		return at, version == g.version || !strings.Contains(version, "-") || strings.Contains(g.version, "-")
	}
	if have[at] < want[at] {
		return at, false
	}
	first := map[string]int{"patch": 3, "latestpatch": 3, "feature": 2, "latestfeature": 2, "minor": 1, "latestminor": 1, "major": 0, "latestmajor": 0}
	from, known := first[g.roll]
	return at, known && at >= from
}

// choose takes of the SDKs that there are the one that the rules of rollForward lead to; "" for none.
func (g global) choose(have []string) (best string) {
	nearest := -1
	for _, v := range have {
		at, ok := g.allows(v)
		if !ok || strings.Contains(v, "-") && !g.preview {
			continue
		}
		if g.roll == "patch" && at == 4 {
			return v
		}
		group := min(at, 3) // of a band, the newest patch is taken
		latest := strings.HasPrefix(g.roll, "latest")
		if latest {
			group = 0
		}
		if group > nearest || group == nearest && better(v, best, latest) {
			nearest, best = group, v
		}
	}
	return best
}

// better tells whether a version is to be taken before another one that is as far from what is asked for: the newest of all, or the next major, minor and
// band, and of that the newest patch.
func better(a, b string, latest bool) bool {
	x, y := levels(a), levels(b)
	for i := range x {
		if x[i] == y[i] {
			continue
		}
		if i == 3 || latest {
			return x[i] > y[i]
		}
		return x[i] < y[i]
	}
	return a > b
}

package python

import (
	"os"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// otherSystems are packages that are for another system alone. "pip freeze" lists them there, as it lists all that is installed.
var otherSystems = pattern.New(`^(?:pywin32|pypiwin32|pywinpty|windows-curses|winloop|pyobjc(?:-.*)?)$`)

// leaveOut leaves a package out of the installation that failed since it is for another system alone: an app that came this far does without it here.
func (b *build) leaveOut() bool {
	m, forWindows := noPlatform.FindStringSubmatch(b.said), false
	if m != nil {
		tags := strings.FieldsFunc(tagsOf(b.said), func(r rune) bool { return r == ',' || r == ' ' })
		forWindows = len(tags) > 0 && !slices.ContainsFunc(tags, func(t string) bool { return !strings.HasPrefix(t, "win") })
	} else if m = noABI.FindStringSubmatch(b.said); m == nil {
		return false
	}
	name := m[1]
	if i := strings.IndexAny(name, "<>=!~"); i >= 0 {
		name = name[:i]
	}
	if !forWindows && !otherSystems.MatchString(normal(name)) || slices.Contains(b.leftOut, name) {
		return false
	}
	b.leftOut = append(b.leftOut, name)
	text := ""
	for _, n := range b.leftOut {
		text += n + " ; sys_platform == 'none'\n"
	}
	file, err := temporary("left-out-*.txt", text)
	if err != nil {
		return false
	}
	b.forgetLeftOut()
	b.leftOutFile, b.env["UV_OVERRIDE"] = file, strings.TrimSpace(b.env["UV_OVERRIDE"]+" "+file)
	kit.Say(b.Out, "Warning: %s is for another system alone (Windows, macOS), and is left out: write %s ; sys_platform == 'win32' (or 'darwin') in the requirements", m[1], name)
	return true
}

// forgetLeftOut removes the file that tells uv what to leave out.
func (b *build) forgetLeftOut() {
	if b.leftOutFile == "" {
		return
	}
	b.env["UV_OVERRIDE"] = strings.TrimSpace(strings.Replace(b.env["UV_OVERRIDE"], b.leftOutFile, "", 1))
	if b.env["UV_OVERRIDE"] == "" {
		delete(b.env, "UV_OVERRIDE")
	}
	_ = os.Remove(b.leftOutFile) // a file of this build's own /tmp
	b.leftOutFile = ""
}

package deploy

import (
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"
)

// What programs say of what they miss, in Python, Node.js and of the dynamic linker. None of it is longer than a name.
var (
	saysModule   = pattern.New(`ModuleNotFoundError: No module named '([\w.]{1,80})'`)
	saysPackage  = pattern.New(`Cannot find (?:module|package) '([\w@./-]{1,120})'`)
	saysLibrary  = pattern.New(`error while loading shared libraries: ([\w.+-]{1,80}):`)
	saysVariable = pattern.New(`KeyError: '([A-Z][A-Z0-9]*_[A-Z0-9_]{1,60})'|\b([A-Z][A-Z0-9]*_[A-Z0-9_]{1,60})\b(?: environment variable)? (?:is|was) (?:not set|not defined|missing|required|undefined)`)
)

// missing says what to do about what the app's last lines say that it misses; "" where they say nothing of the kind.
func (e *StartError) missing() string {
	said := strings.Join(e.LogTail, "\n")
	if m := saysLibrary.FindStringSubmatch(said); m != nil {
		return "find the Debian package that has " + m[1] + " (packages.debian.org), and add it to packages under [io.gitd.build] in project.toml"
	}
	if m := saysModule.FindStringSubmatch(said); m != nil {
		module, _, _ := strings.Cut(m[1], ".")
		return "add the package that has the module " + module + " to requirements.txt, or to the dependencies in pyproject.toml; or commit it, where it is the app's own"
	}
	if m := saysPackage.FindStringSubmatch(said); m != nil {
		switch file, own := strings.CutPrefix(m[1], "/workspace/"); {
		case own:
			return file + " is not there: commit it, or have a build script in package.json make it"
		case !strings.HasPrefix(m[1], ".") && !strings.HasPrefix(m[1], "/"):
			return "add " + m[1] + " to the dependencies in package.json"
		}
	}
	if m := saysVariable.FindStringSubmatch(said); m != nil {
		return "where that is a variable of its environment, set it: config set APP " + m[1] + m[2] + "=VALUE"
	}
	return ""
}

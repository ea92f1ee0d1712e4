package debs

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Some packages come without the names that their programs and libraries are known by: /usr/bin/convert, /usr/bin/php, libblas.so.3. The script that
// dpkg runs after an installation makes those, as alternatives. It is not run here: what it hands to update-alternatives is read out of its text.

// alternative is a name that leads to one of several files, by priority.
type alternative struct {
	link, target string
	priority     int
}

var (
	loopLine   = pattern.New(`^for\s+(\w+)\s+in\s+([^;]*?)\s*(?:;\s*do)?$`)
	assignLine = pattern.New(`^(\w+)=("[^"$` + "`" + `]*"|'[^']*'|[^\s"'$` + "`" + `;]*)$`)
	variable   = pattern.New(`\$(?:\{(\w+)\}|(\w+))`)
)

// maxAlternatives bounds what loops come to.
const maxAlternatives = 1000

// readAlternatives reads the script of a package.
func readAlternatives(script string) (all []alternative) {
	values := map[string][]string{}
	script = strings.ReplaceAll(script, "\\\n", " ")
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if m := loopLine.FindStringSubmatch(line); m != nil {
			values[m[1]] = nil
			for _, w := range strings.Fields(m[2]) {
				values[m[1]] = append(values[m[1]], expand(w, values)...)
			}
			continue
		}
		if m := assignLine.FindStringSubmatch(line); m != nil {
			values[m[1]] = strings.Fields(strings.Trim(m[2], `"'`)) // a list, for the loops below it
			continue
		}
		_, arguments, ok := strings.Cut(line, "update-alternatives ")
		if !ok || line[0] == '#' || !strings.Contains(arguments, "--install") {
			continue
		}
		for _, l := range expand(arguments, values) {
			if all = append(all, installed(strings.Fields(l))...); len(all) > maxAlternatives {
				return all[:maxAlternatives]
			}
		}
	}
	return all
}

// expand puts the values of variables into a text, one text for each of them.
func expand(text string, values map[string][]string) []string {
	texts := []string{text}
	for range 4 { // variables of variables
		var next []string
		for _, t := range texts {
			m := variable.FindStringSubmatch(t)
			if m == nil {
				next = append(next, t)
				continue
			}
			name := m[1] + m[2]
			for _, v := range values[name] {
				if len(next) < maxAlternatives {
					next = append(next, os.Expand(t, func(other string) string {
						if other == name {
							return v
						}
						return "${" + other + "}"
					}))
				}
			}
		}
		texts = next
	}
	return texts
}

// installed reads the arguments of update-alternatives --install.
func installed(words []string) (all []alternative) {
	for i := range words {
		words[i] = strings.Trim(words[i], `"'`)
	}
	i := slices.Index(words, "--install")
	if i < 0 || i+4 >= len(words) {
		return nil
	}
	priority, err := strconv.Atoi(words[i+4])
	if err != nil {
		return nil
	}
	add := func(link, target string) {
		if path.IsAbs(link) && path.IsAbs(target) && !strings.ContainsAny(link+target, "$`*?") {
			all = append(all, alternative{link, target, priority})
		}
	}
	add(words[i+1], words[i+3])
	for i += 5; i+3 < len(words); i++ {
		if words[i] == "--slave" {
			add(words[i+1], words[i+3])
		}
	}
	return all
}

// makeAlternatives makes the names whose files are in the folder, each for the file of the highest priority.
func (t *tree) makeAlternatives() error {
	root, err := os.OpenRoot(t.root)
	if err != nil {
		return err
	}
	defer root.Close()
	slices.SortStableFunc(t.alternatives, func(a, b alternative) int { return b.priority - a.priority })
	for _, a := range t.alternatives {
		name, target := merged(a.link), merged(a.target)
		if leftOut(name) || kit.Exists(t.root, name) || !kit.Exists(t.root, target) {
			continue
		}
		to, err := filepath.Rel(path.Dir(name), target)
		if err != nil {
			return err
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		if err := root.Symlink(to, name); err != nil {
			return err
		}
	}
	return nil
}

package config

import (
	"fmt"
	"io"
	"strings"
)

// Print writes the configuration in effect as a configuration file, with the source of each value. Settings of the other platform are left
// out. There is no secret among the settings: credentials are in files that they name.
func (s *Set) Print(w io.Writer) error {
	var b strings.Builder
	if s.file != "" {
		fmt.Fprintf(&b, "# The file is %s.\n", s.file)
	}
	for _, g := range groups {
		var lines []string
		for _, x := range s.settings {
			if x.Group == g.name && (x.Only == "" || x.Only == s.Config.Server.Platform) {
				lines = append(lines, x.line())
			}
		}
		if len(lines) > 0 {
			fmt.Fprintf(&b, "\n[%s]\n%s", g.name, strings.Join(lines, ""))
		}
	}
	_, err := io.WriteString(w, strings.TrimPrefix(b.String(), "\n"))
	return err
}

// line is a setting in the file. A default that is computed is a comment.
func (x *Setting) line() string {
	if x.source.kind == fromDefault && (x.Computed != "" || x.Default == "") {
		return fmt.Sprintf("# %s: %s\n", x.Key, x.preset())
	}
	from := x.source.kind.String()
	if x.source.kind != fromDefault {
		from = x.source.name
	}
	return fmt.Sprintf("%s = %s # %s\n", x.Key, x.literal(), from)
}

// literal is the value as it is written in the file.
func (x *Setting) literal() string {
	texts := x.get()
	switch {
	case x.list:
		for i, t := range texts {
			texts[i] = quote(t)
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case x.number, x.kind.name == "bool":
		return texts[0]
	}
	return quote(texts[0])
}

// quote writes a basic string of TOML.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// preset is the default in words.
func (x *Setting) preset() string {
	switch {
	case x.Computed != "":
		return strings.ReplaceAll(x.Computed, "`", "")
	case x.Default == "":
		return "not set"
	}
	return x.Default
}

// Markdown returns the tables of all settings for the documentation.
func Markdown() string {
	var b strings.Builder
	s := NewSet()
	for _, g := range groups {
		fmt.Fprintf(&b, "\n### [%s]\n\n%s\n\n| in the file | flag | type | default | |\n|---|---|---|---|---|\n", g.name, g.about)
		for _, x := range s.settings {
			if x.Group == g.name {
				fmt.Fprintf(&b, "| `%s` | `--%s` | %s | %s | %s |\n", x.Key, x.Flag, strings.ReplaceAll(x.kind.name, "|", " or "), x.documented(), x.Usage)
			}
		}
	}
	return b.String()
}

// documented is the default in the documentation.
func (x *Setting) documented() string {
	if x.Computed == "" && x.Default != "" {
		return "`" + x.Default + "`"
	}
	return x.preset()
}

package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strconv"

	"github.com/BurntSushi/toml"
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/bound"
)

// maxFile is what the configuration file may ask of the parser: far more than any needs.
var maxFile = bound.TOMLLimits{Size: 64 << 10, Depth: 8, Path: 256}

// loadFile takes the settings in the file: the one that the command line names, else the variable's, else the default if it exists.
func (s *Set) loadFile(variable string) error {
	path, must := s.filePath(variable)
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil
	}
	if err != nil {
		return app.Errorf(app.CodeInvalidInput, "name a readable file: --config FILE", "the configuration file %s cannot be read: %w", path, err)
	}
	s.file = path
	f := &file{path: path, text: text}
	if err := f.parse(); err != nil {
		return err
	}
	for _, key := range f.keys {
		if err := s.takeKey(f, key); err != nil {
			return err
		}
	}
	return nil
}

// readFile reads a regular file of at most maxFile.Size bytes.
func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(maxFile.Size)+1))
	if err == nil && len(b) > maxFile.Size {
		err = fmt.Errorf("it is larger than %s", app.Size(int64(maxFile.Size)))
	}
	return string(b), err
}

// file is a parsed configuration file.
type file struct {
	path, text string
	values     map[string]any
	keys       []toml.Key // in their order in the text
}

func (f *file) fail(line int, next, format string, args ...any) error {
	return app.Errorf(app.CodeInvalidInput, next, "%s: %s", f.at(line), fmt.Sprintf(format, args...))
}

// at names a place in the file.
func (f *file) at(line int) string {
	if line == 0 {
		return f.path
	}
	return fmt.Sprintf("%s, line %d", f.path, line)
}

const readOn = "docs/configuration.md lists the settings; gitd config prints those in effect"

func (f *file) parse() (err error) {
	var p toml.ParseError
	var b *bound.TOMLError
	if err := bound.TOML([]byte(f.text), maxFile); errors.As(err, &b) {
		return f.fail(b.Line, "correct the file", "%s", b.Reason)
	}
	meta, err := decode(f.text, &f.values)
	switch {
	case errors.As(err, &p):
		return f.fail(p.Position.Line, "correct the file; a setting is written as name = value, a text in quotes", "%s", app.Plain(app.Clip(p.Message, 200)))
	case err != nil:
		return f.fail(0, "correct the file", "%s", app.Plain(app.Clip(err.Error(), 200)))
	}
	f.keys = meta.Keys()
	return nil
}

// decode is the library's, which panics where it finds itself to be wrong.
func decode(text string, to any) (meta toml.MetaData, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it cannot be read: %v", p)
		}
	}()
	return toml.Decode(text, to)
}

// refuse is a value that the library cannot decode into. The error that it gets for that has the line.
type refuse struct{}

func (refuse) UnmarshalTOML(any) error { return errors.New("refused") }

// line returns the line of a key, 0 where it cannot be told. The library tells lines in errors alone: so the text is decoded into a type that
// refuses this key.
func (f *file) line(key toml.Key) int {
	t := reflect.TypeFor[refuse]()
	for i := len(key) - 1; i >= 0; i-- {
		t = reflect.StructOf([]reflect.StructField{{Name: "X", Type: t, Tag: reflect.StructTag("toml:" + strconv.Quote(key[i]))}})
	}
	var p toml.ParseError
	if _, err := decode(f.text, reflect.New(t).Interface()); errors.As(err, &p) {
		return p.Position.Line
	}
	return 0
}

// takeKey takes one key of the file: a group, or a setting in one.
func (s *Set) takeKey(f *file, key toml.Key) error {
	table, isTable := f.values[key[0]].(map[string]any)
	known := false
	for _, g := range groups {
		known = known || g.name == key[0]
	}
	switch {
	case len(key) == 1 && known && !isTable:
		return f.fail(f.line(key), fmt.Sprintf("write [%s], and its settings below", key[0]), "%s is a group of settings, not a setting", key[0])
	case len(key) == 1 && !known:
		return f.fail(f.line(key), s.suggestGroup(key[0], isTable), "there is no %s %q", map[bool]string{true: "group", false: "setting"}[isTable], app.Clip(key[0], 60))
	case len(key) == 1:
		return nil
	case len(key) > 2:
		return nil // within a value, whose type was looked at
	}
	x := s.find(key[0], key[1])
	if x == nil {
		return f.fail(f.line(key), s.suggest(key[0], key[1]), "there is no setting %q in [%s]", app.Clip(key[1], 60), key[0])
	}
	line := f.line(key)
	texts, ok := x.fromTOML(table[key[1]])
	if !ok {
		return f.fail(line, readOn, "%s.%s is %s, not %s", x.Group, x.Key, x.toml, typeOf(table[key[1]]))
	}
	return s.take(x, source{fromFile, fmt.Sprintf("%s: %s.%s", f.at(line), x.Group, x.Key)}, texts)
}

func (s *Set) find(group, key string) *Setting {
	for _, x := range s.settings {
		if x.Group == group && x.Key == key {
			return x
		}
	}
	return nil
}

// suggest is what to do about a key that a group does not have: it may be misspelt, of another group, or a flag's name.
func (s *Set) suggest(group, key string) string {
	var keys []string
	for _, x := range s.settings {
		if x.Group == group {
			keys = append(keys, x.Key)
		}
	}
	if near := nearest(key, keys); near != "" {
		return "did you mean " + near + "?"
	}
	return s.suggestSetting(key)
}

func (s *Set) suggestGroup(name string, isTable bool) string {
	if !isTable {
		return s.suggestSetting(name)
	}
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	if near := nearest(name, names); near != "" {
		return "did you mean [" + near + "]?"
	}
	return readOn
}

// suggestSetting looks for a key or a flag of this name in all groups.
func (s *Set) suggestSetting(name string) string {
	for _, same := range []func(x *Setting) bool{
		func(x *Setting) bool { return x.Flag == name },
		func(x *Setting) bool { return x.Key == name },
		func(x *Setting) bool { return nearest(name, []string{x.Flag}) != "" },
		func(x *Setting) bool { return nearest(name, []string{x.Key}) != "" },
	} {
		for _, x := range s.settings {
			if same(x) {
				return fmt.Sprintf("did you mean %s in [%s]?", x.Key, x.Group)
			}
		}
	}
	return readOn
}

// fromTOML returns a value of the file as texts, and false for one of the wrong type.
func (x *Setting) fromTOML(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		if x.list {
			return split(v), true
		}
		return []string{v}, !x.number && x.kind.name != "bool"
	case int64:
		return []string{strconv.FormatInt(v, 10)}, x.number || x.either
	case bool:
		return []string{strconv.FormatBool(v)}, x.kind.name == "bool"
	case []any:
		var texts []string
		for _, e := range v {
			t, ok := e.(string)
			if !ok {
				return nil, false
			}
			texts = append(texts, t)
		}
		return texts, x.list
	}
	return nil, false
}

// typeOf names the type of a value in the file.
func typeOf(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("the text %q", app.Plain(app.Clip(v, 60)))
	case int64:
		return fmt.Sprintf("the number %d", v)
	case float64:
		return fmt.Sprintf("the number %v", v)
	case bool:
		return fmt.Sprint(v)
	case []any:
		return "this list"
	case map[string]any, []map[string]any:
		return "a table"
	}
	return "a date"
}

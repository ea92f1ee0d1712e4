package bound

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

var limits = TOMLLimits{Size: 16 << 10, Depth: 32, Path: 1024}

func TestTOML_Lets(t *testing.T) {
	for name, text := range map[string]string{
		"Nothing":   "",
		"Mark":      "\xef\xbb\xbfa = 1\n",
		"Tables":    "[io.buildpacks]\nexclude = ['a.b.c.d.e.f']\n[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"" + strings.Repeat("a.", 2000) + "\"\n",
		"Multiline": "a = \"\"\"\n" + strings.Repeat("{[a.b.c=\\\"\n", 500) + "\"\"\"\"\"\nb = '''" + strings.Repeat("[[[\n", 200) + "'''''\n",
		"Comments":  "# " + strings.Repeat("a.", 3000) + "\na = 1 # " + strings.Repeat("{[", 1000) + "\r\nb = 2",
		"Arrays":    "a = [ # one\n [1.5, 2.5], [ { b = 1.5, \"c.d\" = [] } ],\n]\n" + strings.Repeat("[[t]]\nx = [1.0, 2.0]\n", 300),
		"Escaped":   `a = "\\\"" # "` + "\nb = '\\'\n\"\" = ''\n",
		"Line ends": "a = \"\"\"x\\\r\n  y\"\"\"\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if err := TOML([]byte(text), limits); err != nil {
				t.Fatal(err)
			}
			if _, err := toml.Decode(text, new(any)); err != nil {
				t.Fatalf("the test's text is no TOML: %v", err)
			}
		})
	}
}

func TestTOML_Refuses(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"Size":           {"# " + strings.Repeat("a", 17<<10), "line 1: the text is larger than 16384 bytes"},
		"Dotted":         {"a = 1\n" + strings.Repeat("a.", 40) + "a = 1", "line 2: keys, tables and arrays are nested more than 32 deep"},
		"Spaced":         {strings.Repeat("a . ", 40) + "a = 1", "nested"},
		"Quoted":         {strings.Repeat("'a'.", 40) + "a = 1", "nested"},
		"Empty parts":    {strings.Repeat(`"".`, 40) + "a = 1", "nested"},
		"Table":          {"[" + strings.Repeat("a.", 40) + "a]", "nested"},
		"Tables":         {"[[" + strings.Repeat("a.", 40) + "a]]", "nested"},
		"Inline":         {"a = " + strings.Repeat("{a = ", 40) + "1" + strings.Repeat("}", 40), "nested"},
		"Inline dotted":  {"[a.b.c.d.e.f.g.h]\ni = " + strings.Repeat("{a.b.c.d.e.f.g = ", 4) + "1}}}}", "line 2: keys"},
		"Array":          {"a = " + strings.Repeat("[", 40), "nested"},
		"After a string": {`x = """a""""" ` + "\n" + strings.Repeat("a.", 40) + "a = 1", "line 2: keys"},
		"Long":           {"[" + strings.Repeat("a", 1000) + "]\n" + strings.Repeat("b", 100) + " = 1", "line 2: a key with the names of its tables is longer than 1024 bytes"},
		"Open string":    {"a = 1\nb = \"\"\"\n\n", "line 2: a string has no end"},
		"Broken string":  {"a = 'x\n' = 1", "line 1: a string has no end"},
		"Return":         {"# x\ra.b = 1", "a carriage return without a line feed"},
		"Control":        {"# x\x00\n", "a control character (0x00)"},
		"UTF-16":         {"\xff\xfea\x00", "it is not UTF-8"},
		"Close":          {"]", "there is a ] too many"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := TOML([]byte(tt.text), limits); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, want %s", err, tt.want)
			}
		})
	}
}

// What is let through costs a parser little, whatever the text is made of. The worst texts of their kinds took seconds and gigabytes before.
func TestAttack_TOMLCost(t *testing.T) {
	var many, wide strings.Builder
	for i := range 1600 {
		fmt.Fprintf(&many, "[[%s%x]]\n", strings.Repeat("a.", 2), i%8)
		fmt.Fprintf(&wide, "%x.b=1\n", i)
	}
	head := "[" + strings.Repeat("a.", 24) + "a]\n"
	for name, text := range map[string]string{
		"Tables": many.String(),
		"Wide":   wide.String(),
		"Deep":   head + wide.String()[:12<<10],
		"Long":   "[" + strings.Repeat("a", 1000) + "]\n" + wide.String()[:12<<10],
		"Inline": head + "x=[" + strings.Repeat("{a=1},", 2400) + "]",
	} {
		t.Run(name, func(t *testing.T) {
			text := text[:min(len(text), limits.Size)]
			if err := TOML([]byte(text), limits); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			_, _ = toml.Decode(text, new(any))
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			if size := after.TotalAlloc - before.TotalAlloc; size > 64<<20 || took > 2*time.Second {
				t.Errorf("%d MiB, %v", size>>20, took)
			} else {
				t.Logf("%d MiB, %v", size>>20, took)
			}
		})
	}
}

func FuzzTOML(f *testing.F) {
	for _, s := range []string{
		"a = 1\n", "a.b = {c.d = [1.5, {e = 'x'}]}\n", "[a.'b.c']\n\"d\\\"\" = \"\"\"x\\\n  \"\" \"\"\"\"\"\n", "[[a]]\n[[a]]\nb = [[1],[2]] # c\r\n",
		"# x\ra.b = 1", "''' = 1", "\"\"\" = 1", "a = ''''x'''''", "a = \"\"\"\\\"\"\"\"", "a = '''\\'''", "[\"\"]\n\"\".\"\" = 1", "\xef\xbb\xbfa=1", "a={b=1,c.d=2}", "[a]]", "a\n=1", "a={\nb=1}",
		"a = 1979-05-27T07:32:00.5Z\nb = 1_0.5e-3\n", strings.Repeat("a.", 40) + "a=1", "x=[" + strings.Repeat("{a=[", 20),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := TOML(text, limits)
		var meta toml.MetaData
		var broken error
		parsed := make(chan bool)
		go func() { meta, broken = decode(text); close(parsed) }()
		select {
		case <-parsed:
		case <-time.After(5 * time.Second):
			if err == nil {
				t.Fatalf("%q was let through, and takes the parser very long", text)
			}
			return
		}
		if err != nil {
			if broken == nil && bytes.Count(text, []byte("."))+bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) < limits.Depth/2 && len(text) < limits.Path {
				t.Fatalf("%q is TOML, and refused: %v", text, err)
			}
			return
		}
		for _, k := range meta.Keys() {
			if len(k) > limits.Depth || len(strings.Join(k, "")) > limits.Path {
				t.Fatalf("%q was let through, and has the key %s", text, k)
			}
		}
	})
}

func decode(text []byte) (meta toml.MetaData, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return toml.Decode(string(text), new(any))
}

package secret

import (
	"bytes"
	"maps"
	"os/exec"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

func TestParseDotenv(t *testing.T) {
	for text, want := range map[string]Values{
		"":                                {},
		"\ufeffA=b":                       values("A=b"),
		"A=b\r\nC=d\r\n":                  values("A=b", "C=d"),
		"# c\n\n  A = b # comment\nB=x#y": values("A=b", "B=x#y"),
		"export A=b":                      values("A=b"),
		"A='b # $HOME \\n\nsecond'":       values("A=b # $HOME \\n\nsecond"),
		`A="b\n\t\"q\" \\ \$x" # comment`: values("A=b\n\t\"q\" \\ $x"),
		"A=\"one\ntwo\"\nB=3":             values("A=one\ntwo", "B=3"),
		"A=\nB=''\nC=\"\"":                values("A=", "B=", "C="),
		"A=1\nA=2":                        values("A=2"),
		"URL=postgres://u:p@h/d?x=1&y=2":  values("URL=postgres://u:p@h/d?x=1&y=2"),
		"A=it's\nB=$A":                    values("A=it's", "B=$A"),
		"A=#x":                            values("A="),
		"A=\"x\"\nexport\tB=1":            nil,
		"A":                               nil,
		"A\nB=1":                          nil,
		"A='x":                            nil,
		"A=\"x\\\"":                       nil,
		"A='x' y":                         nil,
		"1A=x":                            nil,
		"PORT=1":                          nil,
		"=x":                              nil,
	} {
		got, err := ParseDotenv([]byte(text))
		if want == nil {
			if err == nil || !strings.Contains(err.Error(), "line ") {
				t.Errorf("%q: %q, %v", text, got, err)
			}
		} else if err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	if _, err := ParseDotenv([]byte("A=1\n\nB='planted")); err == nil || !strings.Contains(err.Error(), "line 3") || strings.Contains(err.Error(), "planted") {
		t.Error(err)
	}
}

// What is written is read again, by a shell as well.
func TestValues_Dotenv(t *testing.T) {
	v := values("A=plain", "B=it's", "C=two\nlines\n", `D=back\slash \n "q" $HOME `+"`id`", `E='"\$`+"`", "F=", "G= # no comment ")
	text := v.Dotenv()
	if got, err := ParseDotenv(text); err != nil || !maps.EqualFunc(got, v, bytes.Equal) {
		t.Errorf("%q, %v", got, err)
	}
	for name, value := range v {
		out, err := exec.Command("sh", "-c", string(text)+`printf %s "$`+name+`"`).Output()
		if err != nil || !bytes.Equal(out, value) {
			t.Errorf("%s: %q, %v; want %q", name, out, err, value)
		}
	}
}

func FuzzDotenv(f *testing.F) {
	for _, s := range []string{"A=b\n", "export A='b\nc' # d\n", "A=\"\\n\\\"\"", "A=", "=", "'", "\"\\", "#"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := ParseDotenv(text)
		if err != nil {
			if app.CodeOf(err) == app.CodeInternal {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := ParseDotenv(v.Dotenv())
		if err != nil || !maps.EqualFunc(v, again, bytes.Equal) {
			t.Fatalf("%q: %q became %q, %v", text, v, again, err)
		}
	})
}

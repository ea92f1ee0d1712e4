package secret

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gitd-io/gitd/internal/app"
)

// Bounds on a configuration, in bytes.
const (
	maxTotal    = 1_000_000   // names and values, each with two bytes more
	maxVariable = 128<<10 - 2 // NAME=VALUE: the kernel starts no process with a longer one
	maxName     = 255
	maxNumber   = 1000 // variables
)

// Values are the variables of a configuration, by name.
type Values map[string][]byte

// CheckName returns an *app.Error for a name that no variable can have.
func CheckName(name string) error {
	plain := name != "" && len(name) <= maxName && (name[0] < '0' || name[0] > '9')
	for i := 0; plain && i < len(name); i++ {
		c := name[i]
		plain = c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
	}
	switch {
	case !plain:
		return app.Errorf(app.CodeInvalidName, "use letters, digits and _, not beginning with a digit (at most 255)", "%q cannot be the name of a variable", app.Clip(app.Plain(name), 60))
	case Reserved(name):
		return app.Errorf(app.CodeInvalidName, "choose another name; the port is set in project.toml, [io.gitd.web] port", "%s is set by the platform", name)
	}
	return nil
}

// Reserved says whether the platform sets the variable itself.
func Reserved(name string) bool {
	return name == "PORT" || strings.HasPrefix(name, "K_") || strings.HasPrefix(name, "CNB_")
}

// Check returns an *app.Error for values that no process can have in its environment on every platform, or that are too large.
func (v Values) Check() error {
	if len(v) > maxNumber {
		return app.Errorf(app.CodeLimitExceeded, "put what belongs together into one variable", "the configuration has %d variables, at most %d are possible", len(v), maxNumber)
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(v)) {
		value := v[name]
		if err := CheckName(name); err != nil {
			return err
		}
		size := len(name) + 1 + len(value)
		total += size + 1
		switch {
		case bytes.IndexByte(value, 0) >= 0:
			return app.Errorf(app.CodeInvalidInput, "encode it, such as by base64", "the value of %s has a NUL, which no environment can hold", name)
		case !utf8.Valid(value):
			return app.Errorf(app.CodeInvalidInput, "encode it, such as by base64", "the value of %s is not UTF-8, which environments on a cluster must be", name)
		case size > maxVariable:
			return app.Errorf(app.CodeLimitExceeded, "keep what is large elsewhere, and its address here", "%s has %s, and one variable has room for %s", name, app.Size(int64(size)), app.Size(maxVariable+2))
		}
	}
	if total > maxTotal {
		return app.Errorf(app.CodeLimitExceeded, "keep what is large elsewhere, and its address here", "the configuration has %d bytes in all, at most %d are possible", total, maxTotal)
	}
	return nil
}

// encode writes values as an environment does: NAME=VALUE, each with a NUL behind it.
func (v Values) encode() []byte {
	size := 0
	for name, value := range v {
		size += len(name) + len(value) + 2
	}
	b := make([]byte, 0, size)
	for _, name := range slices.Sorted(maps.Keys(v)) {
		b = append(append(append(b, name...), '='), v[name]...)
		b = append(b, 0)
	}
	return b
}

// decode reads what encode wrote. The values are parts of b.
func decode(b []byte) (Values, error) {
	v := Values{}
	for len(b) > 0 {
		one, rest, ok := bytes.Cut(b, []byte{0})
		name, value, eq := bytes.Cut(one, []byte("="))
		if !ok || !eq {
			return nil, fmt.Errorf("secret: %d bytes of a configuration cannot be read", len(b))
		}
		v[string(name)] = value
		b = rest
	}
	return v, nil
}

package build

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
)

type source struct {
	procfile string
	err      error
}

func (source) Checkout(context.Context, string, int, int) error { return nil }

func (s source) ReadFile(name string, limit int64) ([]byte, error) {
	if name != "Procfile" || limit != 64<<10 {
		return nil, errors.New("not asked for")
	}
	return []byte(s.procfile), s.err
}

func TestDeclared(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		source source
		want   []string
		err    error
	}{
		"None":      {source{err: fs.ErrNotExist}, nil, nil},
		"InOrder":   {source{procfile: "web: a\nrelease: b\nworker: c\nclock: d\n"}, []string{"web", "release", "worker", "clock"}, nil},
		"Malformed": {source{procfile: "worker"}, nil, nil},
		"Broken":    {source{err: broken}, nil, broken},
	} {
		if got, err := Declared(tt.source); !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

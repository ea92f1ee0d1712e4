package kit

import (
	"fmt"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	var got []string
	l := &Lines{Do: func(line string) { got = append(got, line) }}
	for _, p := range []string{"a", "b\nc\n\nd\r\n", "e", strings.Repeat("x", 70<<10), "end\n", "open"} {
		if n, err := l.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if want := []string{"ab", "c", "", "d\r", "end"}; fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%q", got)
	}
}

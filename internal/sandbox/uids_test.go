package sandbox

import (
	"testing"
)

func TestUIDs(t *testing.T) {
	u := UIDs{5000, 5009}
	for id, want := range map[int64]uint32{1: 5000, 10: 5009, 11: 5000} {
		if got := u.of(id, "x"); got != want {
			t.Errorf("%d: %d", id, got)
		}
	}
	if a := u.of(0, "hello"); a != u.of(0, "hello") || a < 5000 || a > 5009 {
		t.Error(a)
	}
	for _, c := range []struct {
		fields []string
		want   bool
	}{
		{[]string{"a", "4000", "1000"}, false}, {[]string{"a", "4000", "1001"}, true}, {[]string{"a", "5009", "1"}, true}, {[]string{"a", "5010", "65536"}, false},
		{[]string{"a", "1", "4294967295"}, true}, {[]string{"a", "x", "1"}, false}, {[]string{"a"}, false}, {[]string{"a", "5000", "0"}, false},
	} {
		if _, got := u.meets(c.fields, 1, 2); got != c.want {
			t.Errorf("%v: %v", c.fields, got)
		}
	}
}

package pattern

import (
	"sync"
	"testing"
)

func TestPattern(t *testing.T) {
	p := New(`^(a+)b$`)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if !p.MatchString("aab") || p.MatchString("b") || p.FindString("ab") != "ab" || p.FindStringSubmatch("aab")[1] != "aa" || p.ReplaceAllString("ab", "$1") != "a" {
				t.Error("it does not match as package regexp does")
			}
		})
	}
	all.Wait()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New("(").MatchString("")
}

package sandbox

import "testing"

func TestRenumber(t *testing.T) {
	ids := map[int][2]uint32{2: {1000, 2000007}, 3: {1000, 2000007}}
	for in, want := range map[string]string{
		"root:x:0:0:root:/root:/bin/bash\ncnb:x:1000:1000::/home/cnb:/bin/sh\n": "root:x:0:0:root:/root:/bin/bash\ncnb:x:2000007:2000007::/home/cnb:/bin/sh\n",
		"a:x:1000:5:1000:/1000:/x": "a:x:2000007:5:1000:/1000:/x",
		"b:x:10001:1000::/:\n":     "b:x:10001:2000007::/:\n",
		"short:x:1000\n":           "short:x:1000\n",
		"\n\n::::\n":               "\n\n::::\n",
		"":                         "",
	} {
		if got := renumber(in, ids); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

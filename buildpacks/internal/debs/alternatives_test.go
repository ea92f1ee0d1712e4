package debs

import (
	"fmt"
	"strings"
	"testing"
)

func TestReadAlternatives(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"one": {"update-alternatives --install /usr/lib/x/libblas.so.3 \\\n   libblas.so.3-x /usr/lib/x/blas/libblas.so.3 10\n", "/usr/lib/x/libblas.so.3>/usr/lib/x/blas/libblas.so.3"},
		"a loop": {"for prog in compare convert; do\n\tupdate-alternatives --quiet --install /usr/bin/$prog $prog /usr/bin/${prog}-im7 100 \\\n --slave /usr/share/man/$prog.1 $prog.1 /usr/share/man/$prog-im7.1\ndone\n",
			"/usr/bin/compare>/usr/bin/compare-im7 /usr/share/man/compare.1>/usr/share/man/compare-im7.1 /usr/bin/convert>/usr/bin/convert-im7 /usr/share/man/convert.1>/usr/share/man/convert-im7.1"},
		"variables": {"basedir=/usr/lib/jvm/java-21\ntools='java keytool'\nfor i in $tools; do\n  update-alternatives --install \"/usr/bin/$i\" $i \"$basedir/bin/$i\" 2111\ndone\n",
			"/usr/bin/java>/usr/lib/jvm/java-21/bin/java /usr/bin/keytool>/usr/lib/jvm/java-21/bin/keytool"},
		"what a shell would have to find out": {"x=$(uname -m)\nupdate-alternatives --install /usr/bin/$x x /usr/bin/y 1\nupdate-alternatives --install /usr/bin/a a `pwd`/y 1\n", ""},
		"malformed":                           {"update-alternatives --install /usr/bin/a\nupdate-alternatives --install a b c d\n# update-alternatives --install /a b /c 1\n", ""},
		"endless":                             {strings.Repeat("a='$a $a'\n", 3) + "for a in $a $a $b; do\nupdate-alternatives --install /usr/bin/$a $a /x/$a$a 1\n", ""},
	} {
		var got []string
		for _, a := range readAlternatives(c.script) {
			got = append(got, fmt.Sprintf("%s>%s", a.link, a.target))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, g, c.want)
		}
	}
}

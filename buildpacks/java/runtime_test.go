package java

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestTemurin: a Java that Debian lacks comes from the builds of Temurin, checked by the sum that their API gives.
func TestTemurin(t *testing.T) {
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for name, mode := range map[string]int64{"jdk-24/bin/java": 0o755, "jdk-24/lib/modules": 0o644, "jdk-24/lib/server/classes.jsa": 0o644, "jdk-24/lib/security/cacerts": 0o644} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if w.Close() != nil || gz.Close() != nil {
		t.Fatal("cannot write the archive")
	}
	sum := sha256.Sum256(b.Bytes())
	var mirror *httptest.Server
	mirror = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch {
		case q.URL.Path == "/jdk.tar.gz":
			_, _ = w.Write(b.Bytes())
		case strings.HasSuffix(q.URL.Path, "/latest/24/hotspot"):
			fmt.Fprintf(w, `[{"release_name":"jdk-24+1","binary":{"package":{"link":"%s/jdk.tar.gz","checksum":"%x"}}}]`, mirror.URL, sum)
		default:
			fmt.Fprint(w, "[]")
		}
	}))
	defer mirror.Close()
	out := &bytes.Buffer{}
	bp := New(out)
	bp.Places.Temurin = mirror.URL
	files := func(version string) map[string]string {
		return map[string]string{"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\nMain-Class: a.B\n", ".java-version": version}
	}
	r := bptest.New(t, catalog.Java)
	built, err := r.Build(bp, files("24"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if web := built.Processes["web"]; !strings.HasSuffix(web.Arguments[1], "exec java $JAVA_OPTS -cp . a.B") {
		t.Errorf("%q", web.Arguments)
	}
	if store, err := os.ReadFile(filepath.Join(r.Layers, "jre/lib/security/cacerts")); err != nil || !bytes.HasPrefix(store, []byte("\xfe\xed\xfe\xed")) {
		t.Errorf("the keystore: %v", err)
	}
	if _, err := r.Build(bp, files("24")); err != nil || !r.Reused("jre") {
		t.Errorf("not reused: %v", err)
	}
	if _, err := r.Build(bp, files("99")); err == nil || kit.Line(err) != "there is no Java 99 for this machine, neither in Debian nor at 127.0.0.1; ask for Java 11, 17, 21 or 25" {
		t.Errorf("%v", err)
	}
}

// TestKeystore: Java reads the keystore, and the same bundle makes the same.
func TestKeystore(t *testing.T) {
	b, _ := tools(t)
	bundle, err := os.ReadFile(systemBundle)
	if err != nil {
		t.Fatal(err)
	}
	store := keystore(bundle)
	if !bytes.Equal(store, keystore(bundle)) {
		t.Error("two keystores of one bundle differ")
	}
	file := filepath.Join(t.TempDir(), "cacerts")
	if err := os.WriteFile(file, store, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(b.Runtime.(machine).home, "bin/keytool"), "-list", "-keystore", file, "-storepass", storePassword).CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("Your keystore contains %d entries", bytes.Count(bundle, []byte("BEGIN CERTIFICATE")))) {
		t.Errorf("%v\n%s", err, out[:min(len(out), 500)])
	}
}

// without8 is a machine whose Debian has lost Java 8.
type without8 struct{ machine }

func (m without8) JDK(b *build) (string, error) {
	if b.java == oldest {
		return "", kit.Errorf("", "it is gone")
	}
	return m.machine.JDK(b)
}

// TestWithout8: where Java 8 cannot be had, the next one takes its place, and the push says so.
func TestWithout8(t *testing.T) {
	b, out := tools(t)
	b.Runtime = without8{b.Runtime.(machine)}
	r := bptest.New(t, catalog.Java)
	if _, err := r.Build(b, map[string]string{"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\nMain-Class: a.B\n", "system.properties": "java.runtime.version=1.7\n"}); err != nil {
		t.Fatal(err)
	}
	const want = "Warning: Java 7 cannot be had: Java 8 takes its place\nWarning: Java 8 cannot be had (it is gone): Java 11 takes its place\nJava 11\n"
	if !strings.Contains(out.String(), want) {
		t.Errorf("%s", out)
	}
}

package java

import (
	"archive/zip"
	"os"
	"path/filepath"
	"testing"
)

// TestSettle: times are taken out, but those that Clojure goes by; folders that a tool has compressed are written.
func TestSettle(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.jar")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(out)
	// Empty content, deflated, as java.util.zip writes it.
	m, err := w.CreateRaw(&zip.FileHeader{Name: "shop/x", Method: zip.Deflate, CompressedSize64: 2})
	if err == nil {
		_, err = m.Write([]byte{3, 0})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shop/core.clj", "shop/core__init.class", "shop/core.class"} {
		if _, err := w.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	rename := func(name string) string {
		if name == "shop/x" {
			return "shop/" // a folder, which the library would not have made so above
		}
		return name
	}
	if err := settle(file, file, rename, ""); err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	at := map[string]int64{}
	for _, f := range z.File {
		at[f.Name] = f.Modified.Unix()
	}
	if len(at) != 4 || at["shop/core__init.class"] <= at["shop/core.clj"] || at["shop/core.class"] != at["shop/core.clj"] {
		t.Errorf("%v", at)
	}
}

package local

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is on the disk is complete, whatever was under way: leftovers of a write are ignored, a broken file costs one Service.
func TestStore(t *testing.T) {
	s := store{t.TempDir()}
	good := newService("good", "x@sha256:"+strings.Repeat("0", 64))
	if err := s.saveService(good); err != nil {
		t.Fatal(err)
	}
	if err := s.saveRevision("good", template{Template: good.Spec.Template}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"good/.new-123": "{", "bad/service.json": "{", "half/revisions/half-v1.json": "{}", ".removed-old/service.json": "{}"} {
		f := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var logged []string
	records, err := s.load(func(f string, a ...any) { logged = append(logged, fmt.Sprintf(f, a...)) })
	if err != nil || len(records) != 1 || len(records[0].revisions) != 1 || records[0].service.Name != "good" {
		b, _ := json.Marshal(records)
		t.Errorf("%s, %v", b, err)
	}
	if len(logged) != 1 || !strings.Contains(logged[0], "bad") {
		t.Errorf("%q", logged)
	}
	for _, gone := range []string{"half", ".removed-old"} {
		if _, err := os.Stat(filepath.Join(s.dir, gone)); !os.IsNotExist(err) {
			t.Errorf("%s is left", gone)
		}
	}
	st, err := os.Stat(filepath.Join(s.dir, "good", "service.json"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if err := s.removeRevision("good", "good-v1"); err != nil {
		t.Fatal(err)
	}
	if err := s.removeService("good"); err != nil {
		t.Fatal(err)
	}
	if records, err = s.load(t.Logf); err != nil || len(records) != 0 {
		t.Errorf("%v, %v", records, err)
	}
}

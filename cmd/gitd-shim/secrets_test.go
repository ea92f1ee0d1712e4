package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// What is quoted is what JSON reads again.
func FuzzQuote(f *testing.F) {
	f.Add("A=1\x00B=two lines\nand \"quotes\" \\ \x01\x1f\x7f é \u2028\x00C=\x00")
	f.Add("A=\x00")
	f.Fuzz(func(t *testing.T, variables string) {
		variables = strings.ToValidUTF8(variables, "?")
		if !strings.HasSuffix(variables, "\x00") {
			variables += "\x00"
		}
		b := quote([]byte(variables))
		var got []string
		if err := json.Unmarshal([]byte("["+string(b)+"]"), &got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if want := strings.Split(strings.TrimSuffix(variables, "\x00"), "\x00"); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

package main

import (
	"fmt"
	"testing"
)

func TestParseCommand(t *testing.T) {
	for text, want := range map[string]string{
		"1\x00/app\x00\x00":                         "[/app] []",
		"3\x00/app\x00\x00b c\x00A=1\x00B=\x00\x00": "[/app  b c] [A=1 B=]",
		"":                  "error",
		"\x00":              "error",
		"1\x00/app\x00":     "error", // gitd was killed over it
		"1\x00/app\x00A=1":  "error",
		"2\x00/app\x00\x00": "error",
		"0\x00\x00":         "error",
		"x\x00/app\x00\x00": "error",
	} {
		args, env, err := parseCommand([]byte(text))
		got := fmt.Sprint(args, env)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

package main

import (
	"strings"
	"testing"
)

// What is hidden of arguments, here as stars.
func TestSecretsIn(t *testing.T) {
	for given, want := range map[string]string{
		"config set hello A=secret B=":                                  "config set hello A=****** B=",
		"config set hello --file=x A=s=t":                               "config set hello --file=x A=***",
		"config unset hello A":                                          "config unset hello A",
		"run hello -e A=secret -- A=b -e C=d":                           "run hello -e A=****** -- A=b -e C=d",
		"run hello --env A=secret --env=B=secret -eC=s --data /x=y env": "run hello --env A=****** --env=B=****** -eC=* --data /x=y env",
		"run hello -e A -- env":                                         "run hello -e A -- env",
		"run hello --env= -e":                                           "run hello --env= -e",
		"apps":                                                          "apps",
		"":                                                              "",
	} {
		args := strings.Fields(given)
		for i, at := range secretsIn(args) {
			if at > 0 {
				args[i] = args[i][:at] + strings.Repeat("*", len(args[i])-at)
			}
		}
		if got := strings.Join(args, " "); got != want {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
	}
}

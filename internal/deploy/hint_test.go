package deploy

import (
	"strings"
	"testing"
)

// TestMissing: what the app says that it misses is in what to do next.
func TestMissing(t *testing.T) {
	for said, want := range map[string]string{
		"ModuleNotFoundError: No module named 'flask.views'":                                                    "add the package that has the module flask to requirements.txt",
		"Error: Cannot find module 'dotenv'\nRequire stack:":                                                    "add dotenv to the dependencies",
		"Error: Cannot find module '/workspace/dist/index.js'":                                                  "dist/index.js is not there: commit it",
		"Error: Cannot find module './routes'":                                                                  "",
		"node: error while loading shared libraries: libicu.so.1: cannot open shared object file: No such file": "find the Debian package that has libicu.so.1",
		"KeyError: 'DATABASE_URL'":                                                                              "set it: config set APP DATABASE_URL=VALUE",
		"Error: MONGO_URI is not set\n    at Object.<anonymous>":                                                "set it: config set APP MONGO_URI=VALUE",
		"KeyError: 'name'":   "",
		"segmentation fault": "",
	} {
		e := StartError{Reason: Exited, ExitCode: 1, LogTail: strings.Split(said, "\n")}
		next := e.next()
		if want == "" && next != "see what the app wrote, above; run it with the same command to find out why it ends" || !strings.Contains(next, want) {
			t.Errorf("%q: %q, want %q", said, next, want)
		}
	}
	e := StartError{Reason: NotListening, Port: 8080}
	if next := e.next(); !strings.Contains(next, "worker: COMMAND") {
		t.Error(next)
	}
}

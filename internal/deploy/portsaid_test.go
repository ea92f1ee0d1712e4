package deploy

import (
	"fmt"
	"testing"
)

func TestItsPort(t *testing.T) {
	for _, c := range []struct {
		start StartError
		want  int
	}{
		{StartError{Reason: NotListening, Port: 8080, Listens: []int{3000}}, 3000},
		{StartError{Reason: NotListening, Port: 8080, Listens: []int{3000, 9229}}, 0},
		{StartError{Reason: Exited, Port: 8080, Listens: []int{3000}}, 0},
		{StartError{Reason: NotListening, Port: 8080, LogTail: []string{"loading", "Server running at http://localhost:3000"}}, 3000},
		{StartError{Reason: NotListening, Port: 8080, LogTail: []string{"listening on port 8080"}}, 0},
		{StartError{Reason: NotListening, Port: 8080}, 0},
	} {
		if got := c.start.ItsPort(); got != c.want {
			t.Errorf("%+v: %d, not %d", c.start, got, c.want)
		}
	}
}

func TestPortsSaid(t *testing.T) {
	for line, want := range map[string]string{
		"Server running on http://127.0.0.1:3000/":           "[3000]",
		"listening on port 5000":                             "[5000]",
		"Listening on :4567, CTRL+C to stop":                 "[4567]",
		"* Listening on http://0.0.0.0:9292":                 "[9292]",
		"Tomcat started on port 8081 (http)":                 "[8081]",
		"2026-11-26 10:24:31 INFO server started, port=9000": "[9000]",
		"Listening on [::]:8000":                             "[8000]",
		"10:24:31 the server is running":                     "[]",
		"connected to db:5432":                               "[]",
		"http server and metrics on :3000 and :9100 started": "[3000 9100]",
		"listening on port 99999":                            "[]",
		"listening on port 00123":                            "[]",
	} {
		if got := fmt.Sprint(portsSaid([]string{line, line})); got != want {
			t.Errorf("%s: %s, not %s", line, got, want)
		}
	}
}

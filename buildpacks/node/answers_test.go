package node

import (
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// answering is the body of a function of events e that answers as their type says.
const answering = ` switch (e.type) { case 'text': return 'a text'; case 'object': return { a: 1 }; case 'number': return 7; case 'event': return { specversion: '1.0', id: '2', source: '/f', type: 'answer', data: 1 }; case 'fail': throw new Error('of this call') } `

// answers checks that what a function answers to a broker, which says Prefer: reply, is an event or nothing. Others get all of it.
func answers(t *testing.T, s *bptest.Served) {
	t.Helper()
	defer s.Stop()
	for _, tt := range []struct {
		kind, prefer string
		status       int
		want         string
	}{
		{"text", "", 200, "a text"},
		{"text", "reply", 204, ""},
		{"object", "", 200, `{"a":1}`},
		{"object", "reply", 204, ""},
		{"number", "reply", 204, ""},
		{"nothing", "reply", 204, ""},
		{"event", "reply", 200, `{"specversion":"1.0","id":"2","source":"/f","type":"answer","data":1}`},
		{"fail", "reply", 500, ""},
	} {
		header := []string{"ce-specversion: 1.0", "ce-id: 1", "ce-source: /b", "ce-type: " + tt.kind}
		if tt.prefer != "" {
			header = append(header, "prefer: "+tt.prefer)
		}
		if status, body := s.Do("POST", "/", "", header...); status != tt.status || body != tt.want && tt.status < 300 {
			t.Errorf("%s, Prefer %q: %d %s", tt.kind, tt.prefer, status, body)
		}
	}
	if !s.Wrote("the function's answer to an event is dropped: it is no CloudEvent") {
		t.Errorf("the log does not say that an answer was dropped:\n%s", s.Output())
	}
}

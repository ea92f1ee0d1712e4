package webhook

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// What services send, as the adapters of CloudEvents have it.
func TestEvents(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	const repository = `"repository": {"url": "https://api.github.com/repos/o/r", "homepage": "https://gitlab.com/o/r", "owner": {"url": "https://api.github.com/users/o"}, "name": "r"}`
	gitHub := func(name string) http.Header { return header("X-GitHub-Event", name, "X-GitHub-Delivery", "d1") }
	none := header("webhook-id", "m1", "Idempotency-Key", "k1")
	for _, c := range []struct {
		kind   Kind
		header http.Header
		body   string
		want   string // id type source subject time
	}{
		{GitHub, gitHub("push"), `{"ref": "refs/heads/main", ` + repository + `}`, "d1 com.github.push https://api.github.com/repos/o/r refs/heads/main 2026-01-31T12:00:00Z"},
		{GitHub, gitHub("pull_request"), `{"action": "opened", "number": 7, "pull_request": {"updated_at": "2019-05-15T15:20:33Z"}, ` + repository + `}`,
			"d1 com.github.pull_request.opened https://api.github.com/repos/o/r 7 2019-05-15T15:20:33Z"},
		{GitHub, gitHub("issues"), `{"action": "closed", "issue": {"number": 1, "updated_at": null}, ` + repository + `}`, "d1 com.github.issue.closed https://api.github.com/repos/o/r 1 2026-01-31T12:00:00Z"},
		{GitHub, gitHub("create"), `{"ref_type": "tag", "ref": "v1", ` + repository + `}`, "d1 com.github.create.tag https://api.github.com/repos/o/r v1 2026-01-31T12:00:00Z"},
		{GitHub, gitHub("membership"), `{"scope": "team", "action": "added", "team": {"url": "https://api.github.com/teams/1"}, "member": {"login": "m"}}`, "d1 com.github.membership.team.added https://api.github.com/teams/1 m 2026-01-31T12:00:00Z"},
		{GitHub, gitHub("commit_comment"), `{"action": "created", "comment": {"url": "https://api.github.com/c/1", "commit_id": "ab", "id": 1}}`, "d1 com.github.commit_comment.created https://api.github.com/c/1/ab 1 2026-01-31T12:00:00Z"},
		{GitHub, gitHub("marketplace_purchase"), `{"action": "purchased", "sender": {"url": "https://api.github.com/users/u"}}`, "d1 com.github.marketplace_purchase.purchased https://api.github.com/users  2026-01-31T12:00:00Z"},
		{GitHub, gitHub("workflow_run"), `{"action": "completed", "workflow_run": {"id": 30433642, "updated_at": "2020-01-22T19:33:08Z"}, ` + repository + `}`,
			"d1 com.github.workflow_run.completed https://api.github.com/repos/o/r 30433642 2020-01-22T19:33:08Z"},
		{GitHub, gitHub("release"), `{"action": "a b", ` + repository + `}`, "d1 com.github.release https://api.github.com/repos/o/r  2026-01-31T12:00:00Z"},
		{GitHub, gitHub("push"), `{"ref": "a\nb", "repository": 5}`, "d1 com.github.push https://github.com  2026-01-31T12:00:00Z"},
		{GitHub, gitHub("ping"), `{}`, "none"},
		{GitHub, header(), `{}`, "refused: the header X-GitHub-Event is missing, or is not the name of an event"},
		{GitHub, gitHub("push"), `[]`, "refused: the body is not a JSON object"},
		{GitHub, gitHub("push"), `null`, "refused: the body is not a JSON object"},
		{GitHub, header("X-GitHub-Event", "push", "X-GitHub-Delivery", "d1", "Content-Type", "application/x-www-form-urlencoded"), "payload=%7B%22ref%22%3A%22x%22%7D", "d1 com.github.push https://github.com x 2026-01-31T12:00:00Z"},
		{GitHub, header("X-GitHub-Event", "push", "Content-Type", "application/x-www-form-urlencoded"), "x=1", "refused: the body is a form without a payload"},
		{GitLab, none, `{"object_kind": "push", "checkout_sha": "ab", ` + repository + `}`, "k1 com.gitlab.push https://gitlab.com/o/r ab 2026-01-31T12:00:00Z"},
		{GitLab, none, `{"object_kind": "merge_request", "object_attributes": {"action": "merge", "iid": 3}, ` + repository + `}`, "k1 com.gitlab.merge_request.merge https://gitlab.com/o/r 3 2026-01-31T12:00:00Z"},
		{GitLab, none, `{"object_kind": "note", "object_attributes": {"noteable_type": "Issue", "id": 9, "url": "https://gitlab.com/o/r/issues/1#note_9"}}`, "k1 com.gitlab.note.issue https://gitlab.com/o/r/issues/1 9 2026-01-31T12:00:00Z"},
		{GitLab, none, `{"object_kind": "build", "build_status": "failed", "build_id": 5, ` + repository + `}`, "k1 com.gitlab.job.failed https://gitlab.com/o/r 5 2026-01-31T12:00:00Z"},
		{GitLab, none, `{"object_kind": "feature_flag", "project": {"web_url": "https://gitlab.com/p"}}`, "k1 com.gitlab.feature_flag https://gitlab.com/p  2026-01-31T12:00:00Z"},
		{GitLab, none, `{}`, "refused: the body does not say what it is of: it has no object_kind"},
		{Stripe, none, `{"id": "evt_1", "type": "invoice.paid", "created": 1492774577, "data": {"object": {"id": "in_1"}}}`, "evt_1 com.stripe.invoice.paid https://api.stripe.com in_1 2017-04-21T11:36:17Z"},
		{Stripe, none, `{"id": "evt_2", "type": "v1.billing.meter.error_report_triggered", "account": "acct_1", "created": "2024-09-17T06:20:52.246Z", "related_object": {"id": "mtr_1"}}`,
			"evt_2 com.stripe.v1.billing.meter.error_report_triggered https://api.stripe.com/v1/accounts/acct_1 mtr_1 2024-09-17T06:20:52.246Z"},
		{Stripe, none, `{"type": "x"}`, "refused: the body is not an event of Stripe: it has no id or no type"},
		{Standard, none, `{"type": "user.created", "timestamp": "2023-01-19T00:13:51Z", "data": {}}`, "m1 user.created /apps/shop/webhooks/in  2023-01-19T00:13:51Z"},
		{Standard, none, "\xff", "m1 io.gitd.webhook /apps/shop/webhooks/in  2026-01-31T12:00:00Z"},
		{Standard, none, `[1]`, "m1 io.gitd.webhook /apps/shop/webhooks/in  2026-01-31T12:00:00Z"},
	} {
		w := Webhook{Name: "in", Kind: c.kind}
		all, err := w.toEvents("shop", c.header, []byte(c.body), now)
		got := "none"
		switch {
		case err != nil:
			got = "refused: " + err.Error()
		case len(all) == 1:
			e := all[0]
			got = strings.Join([]string{e.ID, e.Type, e.Source, e.Subject, e.Time}, " ")
			if err := e.Check(); err != nil {
				t.Errorf("%s: %v", c.body, err)
			}
			trigger := w.Trigger("shop")
			if passes, err := event.Compile(trigger.Filters); err != nil || !passes(e) {
				t.Errorf("%s: its trigger does not take it: %v", c.body, err)
			}
		}
		if got != c.want {
			t.Errorf("%s\n%s\nwant %s", c.body, got, c.want)
		}
	}
}

// Whatever a body is, what it becomes is an event, or it is refused.
func FuzzEvents(f *testing.F) {
	f.Add("push", `{"ref": "refs/heads/main", "repository": {"url": "https://api.github.com/repos/o/r"}}`)
	f.Add("marketplace_purchase", `{"sender": {"url": "x"}, "action": 1e400, "timestamp": "1"}`)
	f.Add("note", `{"object_kind": "note", "object_attributes": {"noteable_type": "Issue", "url": "#"}, "id": "\u0000", "type": "a"}`)
	f.Add("", `{"Records": [{"eventSource": "minio:s3", "eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "a+b.jpg"}}}, 1]}`)
	f.Fuzz(func(t *testing.T, name, body string) {
		for _, k := range Kinds {
			w := Webhook{Name: "in", Kind: k}
			all, _ := w.toEvents("shop", header("X-GitHub-Event", name, "Content-Type", name, "Webhook-Id", name), []byte(body), time.Unix(1614265330, 0))
			for _, e := range all {
				if err := e.Check(); e.Size() < event.MaxSize && err != nil && !strings.Contains(err.Error(), "datacontenttype") {
					t.Errorf("%s: %v", k, err)
				}
			}
		}
	})
}

// What a handler answers, and to whom.
func TestHandler(t *testing.T) {
	const secret = "sesame"
	var sent []event.Event
	var fails error
	h := &Handler{Log: t.Logf,
		Find: func(_ context.Context, of, name string) (Found, error) {
			switch {
			case of != "shop" || name != "in" && name != "lost":
				return Found{}, app.NoApp(of)
			case name == "lost":
				return Found{}, app.Errorf(app.CodeUnavailable, "x", "the key is lost")
			}
			return Found{Webhook: Webhook{Name: "in", Kind: GitHub, Broker: "team"}, App: "shop", AppID: 7, Secrets: [][]byte{[]byte(secret)}}, nil
		},
		Send: func(_ context.Context, broker string, e event.Event, from event.Sender) (event.Receipt, error) {
			if fails != nil {
				return event.Receipt{}, fails
			}
			if broker != "team" || from != (event.Sender{Kind: event.FromSource, Name: "webhook shop/in", ID: 7}) {
				t.Errorf("%s, %+v", broker, from)
			}
			sent = append(sent, e)
			return event.Receipt{Number: 12}, nil
		}}
	const body = `{"ref": "x"}`
	signed := func(b string) string { return "sha256=" + hex.EncodeToString(sum([]byte(secret), b)) }
	ask := func(method, path, signature, b string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(b))
		r.Header.Set("X-GitHub-Event", "push")
		if signature != "" {
			r.Header.Set("X-Hub-Signature-256", signature)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	large := strings.Repeat("x", event.MaxSize+1)
	full := app.Errorf(app.CodeUnavailable, "x", "the broker is full")
	for _, c := range []struct {
		method, path, signature, body string
		fails                         error
		want                          int
		says                          string
	}{
		{"POST", "/hooks/shop/in", signed(body), body, nil, 202, ""},
		{"GET", "/hooks/shop/in", "", "", nil, 405, "by POST"},
		{"POST", "/hooks/shop/in", "", body, nil, 401, "is missing"},
		{"POST", "/hooks/shop/in", signed("y"), body, nil, 401, "does not fit"},
		{"POST", "/hooks/shop/in", signed("y"), "y", nil, 400, "not a JSON object"},
		{"POST", "/hooks/shop/in", signed(large), large, nil, 413, "1 MiB"},
		{"POST", "/hooks/shop/in", signed(body), body, full, 503, "is full"},
		{"POST", "/hooks/shop/in", signed(body), body, event.NoBroker("team"), 503, "not taken"},
		{"POST", "/hooks/shop/lost", signed(body), body, nil, 503, "cannot be looked at"},
		{"POST", "/hooks/shop/other", signed(body), body, nil, 404, "there is no such webhook"},
		{"POST", "/hooks/other/in", signed(body), body, nil, 404, "there is no such webhook"},
		{"POST", "/hooks/shop/in/", signed(body), body, nil, 404, "there is no such webhook"},
		{"POST", "/hooks/shop.git/in", signed(body), body, nil, 404, "there is no such webhook"},
		{"GET", "/hooks/shop", "", "", nil, 404, "there is no such webhook"},
		{"GET", "/hooks/", "", "", nil, 404, "there is no such webhook"},
	} {
		fails = c.fails
		w := ask(c.method, c.path, c.signature, c.body)
		if w.Code != c.want || !strings.Contains(w.Body.String(), c.says) || w.Code == 503 && w.Header().Get("Retry-After") == "" {
			t.Errorf("%s %s %.80s: %d %s", c.method, c.path, c.body, w.Code, w.Body)
		}
	}
	if len(sent) != 1 || sent[0].Type != "com.github.push" || string(sent[0].Data) != body {
		t.Errorf("%+v", sent)
	}
}

// Those who do not have the secret cannot have more than so many bodies held.
func TestHandler_Held(t *testing.T) {
	h := &Handler{Log: t.Logf, wait: time.Hour, Find: func(context.Context, string, string) (Found, error) {
		return Found{Webhook: Webhook{Name: "in", Kind: GitHub}, App: "shop", AppID: 7}, nil
	}}
	web := httptest.NewServer(h)
	defer web.Close()
	do := func(body io.Reader) int {
		q, err := http.NewRequest("POST", web.URL+"/hooks/shop/in", body)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			return 0
		}
		r.Body.Close()
		return r.StatusCode
	}
	ends := make(chan int, mostHeld)
	var open []*io.PipeWriter
	for range mostHeld {
		body, w := io.Pipe()
		open = append(open, w)
		go func() { ends <- do(body) }()
		if _, err := w.Write([]byte("{")); err != nil {
			t.Fatal(err)
		}
	}
	for {
		h.mu.Lock()
		n := h.under[7]
		h.mu.Unlock()
		if n == mostHeld {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if got := do(strings.NewReader("{}")); got != 503 {
		t.Errorf("one more: %s", strconv.Itoa(got))
	}
	for _, w := range open {
		w.Close()
		if got := <-ends; got != 401 {
			t.Errorf("one that was held: %d", got)
		}
	}
	if got := do(strings.NewReader("{}")); got != 401 {
		t.Errorf("after that: %d", got)
	}
}

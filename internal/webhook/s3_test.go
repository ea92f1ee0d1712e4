package webhook

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// put is a record as MinIO sends it; deleted one of two objects that one request deletes at Amazon.
const (
	put     = `{"eventVersion": "2.0", "eventSource": "minio:s3", "awsRegion": "", "eventTime": "2019-10-22T09:27:27.114Z", "eventName": "s3:ObjectCreated:Put", "responseElements": {"x-amz-request-id": "15CFEDF8D4736ED9", "x-amz-id-2": "dd90"}, "s3": {"bucket": {"name": "images", "arn": "arn:aws:s3:::images"}, "object": {"key": "a+b%2Fc.jpg", "size": 7}}}`
	deleted = `{"eventSource": "aws:s3", "awsRegion": "eu-west-1", "eventName": "ObjectRemoved:Delete", "responseElements": {"x-amz-request-id": "A1", "x-amz-id-2": "F/+="}, "s3": {"bucket": {"name": "b"}, "object": {"key": "KEY"}}}`
)

// Each record of a notification is an event, as the adapter of CloudEvents for S3 has it.
func TestEvents_S3(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	two := strings.Replace(deleted, "KEY", "k1", 1) + "," + strings.Replace(deleted, "KEY", "k2", 1)
	for _, c := range []struct{ name, body, want string }{ // each event: source type subject time, and of its id what is the request's
		{"MinIO", `{"EventName": "s3:ObjectCreated:Put", "Key": "images/a b/c.jpg", "Records": [` + put + `]}`, "15CFEDF8D4736ED9.dd90 minio:s3..images com.amazonaws.s3.ObjectCreated:Put a+b%2Fc.jpg 2019-10-22T09:27:27.114Z"},
		{"two of one request", `{"Records": [` + two + `]}`, "A1.F/+= aws:s3.eu-west-1.b com.amazonaws.s3.ObjectRemoved:Delete k1 2026-01-31T12:00:00Z\nA1.F/+= aws:s3.eu-west-1.b com.amazonaws.s3.ObjectRemoved:Delete k2 2026-01-31T12:00:00Z"},
		{"no ids", `{"Records": [{"eventSource": "ceph:s3", "awsRegion": "z", "eventName": "ObjectCreated:Copy", "s3": {"bucket": {"name": "b"}}}]}`, " ceph:s3.z.b com.amazonaws.s3.ObjectCreated:Copy  2026-01-31T12:00:00Z"},
		{"a test", `{"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2014-10-13T15:57:02.089Z", "Bucket": "b"}`, ""},
		{"no records", `{"EventName": "s3:ObjectCreated:Put"}`, "refused: the body is not a notification of S3: it has no Records"},
		{"empty", `{"Records": []}`, "refused: the body is not a notification of S3: it has no Records"},
		{"no list", `{"Records": {"0": {}}}`, "refused: the body is not a notification of S3: it has no Records"},
		{"no object", `[` + put + `]`, "refused: the body is not a JSON object"},
		{"one that is none", `{"Records": [` + put + `, 7]}`, "refused: record 2 is not one of S3: it has no eventSource, no eventName or no bucket"},
		{"no bucket", `{"Records": [{"eventSource": "a", "eventName": "b", "s3": {"bucket": null}}]}`, "refused: record 1 is not one of S3: it has no eventSource, no eventName or no bucket"},
		{"a name with a space", `{"Records": [` + strings.Replace(put, "s3:ObjectCreated:Put", "a b", 1) + `]}`, "refused: record 1 is not one of S3: it has no eventSource, no eventName or no bucket"},
		{"too many", `{"Records": [` + strings.Repeat(put+",", mostRecords) + put + `]}`, "refused: there are 101 records, and at most 100 can be in one request"},
	} {
		w := Webhook{Name: "in", Kind: S3}
		all, err := w.toEvents("shop", http.Header{}, []byte(c.body), now)
		var lines []string
		if err != nil {
			lines = []string{"refused: " + err.Error()}
		}
		ids := map[string]bool{}
		for _, e := range all {
			request, own := "", e.ID
			if i := strings.LastIndexByte(e.ID, '.'); i >= 0 {
				request, own = e.ID[:i], e.ID[i+1:]
			}
			if ids[e.ID] = true; own != identity(e.Data) || e.Check() != nil || e.Extensions[event.WebhookAttribute] != "shop/in" {
				t.Errorf("%s: %+v: %v", c.name, e, e.Check())
			}
			lines = append(lines, strings.Join([]string{request, e.Source, e.Type, e.Subject, e.Time}, " "))
		}
		if got := strings.Join(lines, "\n"); got != c.want || len(ids) != len(all) {
			t.Errorf("%s: %d ids of %d events\n%s\nwant %s", c.name, len(ids), len(all), got, c.want)
		}
	}
}

// A request of several records is taken when all of them are on disk.
func TestHandler_S3(t *testing.T) {
	sent := map[string]int{}
	room := 1
	h := &Handler{Log: t.Logf,
		Find: func(context.Context, string, string) (Found, error) {
			return Found{Webhook: Webhook{Name: "in", Kind: S3}, App: "shop", AppID: 7, Secrets: [][]byte{[]byte("sesame")}}, nil
		},
		Send: func(_ context.Context, _ string, e event.Event, _ event.Sender) (event.Receipt, error) {
			if len(sent) == room && sent[e.ID] == 0 {
				return event.Receipt{}, app.Errorf(app.CodeUnavailable, "x", "the broker is full")
			}
			sent[e.ID]++
			return event.Receipt{Number: int64(len(sent))}, nil
		}}
	body := `{"Records": [` + strings.Replace(deleted, "KEY", "k1", 1) + "," + strings.Replace(deleted, "KEY", "k2", 1) + `]}`
	ask := func(method, authorization string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/hooks/shop/in", strings.NewReader(body))
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	if w := ask("POST", "Bearer other"); w.Code != 401 || w.Header().Get("WWW-Authenticate") != `Bearer realm="webhook"` || len(sent) != 0 {
		t.Errorf("another token: %d %v, %v", w.Code, w.Header(), sent)
	}
	if w := ask("HEAD", "Bearer sesame"); w.Code != 405 { // MinIO asks so whether the address answers, whatever it does
		t.Errorf("HEAD: %d", w.Code)
	}
	if w := ask("POST", "Bearer sesame"); w.Code != 503 || w.Header().Get("Retry-After") == "" || len(sent) != 1 {
		t.Errorf("no room for the second: %d, %v", w.Code, sent)
	}
	room = 2
	if w := ask("POST", "Bearer sesame"); w.Code != 202 || len(sent) != 2 || strings.Join(w.Header().Values("Gitd-Event"), " ") != "e1 e2" {
		t.Errorf("sent again: %d %v, %v", w.Code, w.Header(), sent)
	}
}

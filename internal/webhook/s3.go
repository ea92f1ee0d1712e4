package webhook

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// mostRecords is how many records one request of S3 may have: each is an event, and on disk before the request is answered. MinIO and Amazon send one.
const mostRecords = 100

// bearerProof reads "Bearer TOKEN".
func bearerProof(h http.Header) (proof, error) {
	const name = "Authorization"
	text, err := one(h, name)
	if err != nil {
		return proof{}, err
	}
	scheme, token, _ := strings.Cut(text, " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return proof{}, refuse("the header %s is not Bearer with the secret of this webhook", name)
	}
	return proof{token: token}, nil
}

// s3Events are the records of a notification of S3, and of what is compatible with it, each as an event; none of one that only tries whether the webhook works.
func s3Events(body []byte, now time.Time) ([]*event.Event, error) {
	d, err := readDocument(body)
	if err != nil {
		return nil, err
	}
	var records []json.RawMessage
	if err := json.Unmarshal(d["Records"], &records); err != nil || len(records) == 0 {
		if d.at("Event") == "s3:TestEvent" {
			return nil, nil
		}
		return nil, refuse("the body is not a notification of S3: it has no Records")
	}
	if len(records) > mostRecords {
		return nil, refuse("there are %d records, and at most %d can be in one request", len(records), mostRecords)
	}
	var all []*event.Event
	for i, text := range records {
		var r document
		_ = json.Unmarshal(text, &r) // one that is no object has no name
		e := r.s3Event(text, now)
		if e == nil {
			return nil, refuse("record %d is not one of S3: it has no eventSource, no eventName or no bucket", i+1)
		}
		all = append(all, e)
	}
	return all, nil
}

// s3Event is a record as the adapter of CloudEvents for S3 has it; nil for what is none. The adapter's id is that of the request, which is the same for each object that
// one request deletes: what follows it is the record's own, so that no event is taken for another.
func (d document) s3Event(record []byte, now time.Time) *event.Event {
	from, name, bucket := d.at("eventSource"), kind(strings.TrimPrefix(d.at("eventName"), "s3:")), d.at("s3.bucket.name")
	if from == "" || name == "" || bucket == "" {
		return nil
	}
	e := d.event("com.amazonaws.s3."+name, mapping{subject: "s3.object.key", time: "eventTime"}, now)
	e.Source, e.Data = from+"."+d.at("awsRegion")+"."+bucket, record
	for _, part := range []string{d.at("responseElements.x-amz-request-id"), d.at("responseElements.x-amz-id-2")} {
		if part != "" {
			e.ID += part + "."
		}
	}
	e.ID += identity(record)
	return e
}

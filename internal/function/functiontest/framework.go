package functiontest

import (
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
)

// Framework checks a function of a type ("http", "typed", "cloudevent", "legacyevent") that is served at url by a process that began as command: with rows of ours, and with the
// Functions Framework's own suite where its client is at hand. The function writes to Output, and sleeps for a second where it gets "hello" or nowhere.com.
func Framework(t *testing.T, kind, url string, command *exec.Cmd) {
	t.Helper()
	switch kind {
	case "http":
		HTTP(t, url, command.Dir)
		Concurrent(t, url, "application/json", `{"data":"hello"}`)
	case "typed":
		Typed(t, url)
		Concurrent(t, url, "application/json", `{"data":"hello"}`)
	case "cloudevent":
		CloudEvents(t, url, command.Dir)
		Converted(t, url, command.Dir)
		Concurrent(t, url, "application/cloudevents+json", attributes+`"type":"google.firebase.auth.user.v1.created","source":"//firebaseauth.googleapis.com/projects/shop","subject":"users/1","data":{"email":"a@nowhere.com"}}`)
	case "legacyevent":
		Background(t, url, command.Dir)
		Concurrent(t, url, "application/json", `{`+stamp+`,"eventType":"providers/firebase.auth/eventTypes/user.create","resource":"projects/shop","data":{"email":"a@nowhere.com"}}`)
	}
	suite(t, kind, false, command)
	suite(t, kind, true, command)
}

// Typed checks a function of the Functions Framework that takes and returns a value: it answers {"payload": what it got}.
func Typed(t *testing.T, url string) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(`{"message":"Hello world!"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(body, &got); err != nil || resp.StatusCode != http.StatusOK || !reflect.DeepEqual(got, map[string]any{"payload": map[string]any{"message": "Hello world!"}}) {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
}

// conversion is an event of Google's services as they sent it before CloudEvents, the same as a CloudEvent, and what becomes of that for a function of before CloudEvents.
type conversion struct {
	name, legacy string
	event        string // but for specversion, id, time and datacontenttype
	sent         string // data of the CloudEvent that is sent, where a service's has more than what an older event becomes
	back         string // the type and the resource of the context, and the data
}

// conversions are what every Functions Framework converts, by its description of the mapping.
var conversions = []conversion{
	{"an object", `"context":{STAMP,"eventType":"google.storage.object.finalize","resource":{"service":"storage.googleapis.com","name":"projects/_/buckets/pictures/objects/2026/a.jpg","type":"storage#object"}},"data":{"bucket":"pictures","name":"2026/a.jpg","size":"352","kind":"storage#object"}`,
		`"type":"google.cloud.storage.object.v1.finalized","source":"//storage.googleapis.com/projects/_/buckets/pictures","subject":"objects/2026/a.jpg","data":{"bucket":"pictures","name":"2026/a.jpg","size":"352","kind":"storage#object"}`, ``,
		`"eventType":"google.storage.object.finalize","resource":{"service":"storage.googleapis.com","name":"projects/_/buckets/pictures/objects/2026/a.jpg","type":"storage#object"}},"data":{"bucket":"pictures","name":"2026/a.jpg","size":"352","kind":"storage#object"}`},
	{"a message", `"context":{STAMP,"eventType":"google.pubsub.topic.publish","resource":{"service":"pubsub.googleapis.com","name":"projects/shop/topics/orders","type":"type.googleapis.com/google.pubsub.v1.PubsubMessage"}},"data":{"@type":"type.googleapis.com/google.pubsub.v1.PubsubMessage","attributes":{"k":"v"},"data":"aGk="}`,
		`"type":"google.cloud.pubsub.topic.v1.messagePublished","source":"//pubsub.googleapis.com/projects/shop/topics/orders","data":{"message":{"@type":"type.googleapis.com/google.pubsub.v1.PubsubMessage","attributes":{"k":"v"},"data":"aGk=","messageId":"e-1","publishTime":"2026-11-26T10:42:27.123Z"}}`,
		`{"subscription":"projects/shop/subscriptions/s","message":{"@type":"type.googleapis.com/google.pubsub.v1.PubsubMessage","attributes":{"k":"v"},"data":"aGk=","messageId":"e-1","publishTime":"2026-11-26T10:42:27.123Z"}}`,
		`"eventType":"google.pubsub.topic.publish","resource":{"service":"pubsub.googleapis.com","name":"projects/shop/topics/orders","type":"type.googleapis.com/google.pubsub.v1.PubsubMessage"}},"data":{"@type":"type.googleapis.com/google.pubsub.v1.PubsubMessage","attributes":{"k":"v"},"data":"aGk="}`},
	{"a message of before", `STAMP,"eventType":"providers/cloud.pubsub/eventTypes/topic.publish","resource":"projects/shop/topics/orders","data":{"@type":"type.googleapis.com/google.pubsub.v1.PubsubMessage","data":"AQIDBA=="}`,
		`"type":"google.cloud.pubsub.topic.v1.messagePublished","source":"//pubsub.googleapis.com/projects/shop/topics/orders","data":{"message":{"@type":"type.googleapis.com/google.pubsub.v1.PubsubMessage","data":"AQIDBA==","messageId":"e-1","publishTime":"2026-11-26T10:42:27.123Z"}}`, ``, ``},
	{"a user", `STAMP,"eventType":"providers/firebase.auth/eventTypes/user.create","resource":"projects/shop","notSupported":{},"data":{"uid":"U1","metadata":{"createdAt":"2026-05-26T10:42:27Z","lastSignedInAt":"2026-10-24T11:00:00Z"}}`,
		`"type":"google.firebase.auth.user.v1.created","source":"//firebaseauth.googleapis.com/projects/shop","subject":"users/U1","data":{"uid":"U1","metadata":{"createTime":"2026-05-26T10:42:27Z","lastSignInTime":"2026-10-24T11:00:00Z"}}`, ``,
		`"eventType":"providers/firebase.auth/eventTypes/user.create","resource":"projects/shop"},"data":{"uid":"U1","metadata":{"createdAt":"2026-05-26T10:42:27Z","lastSignedInAt":"2026-10-24T11:00:00Z"}}`},
	{"a database", `STAMP,"eventType":"providers/google.firebase.database/eventTypes/ref.write","params":{"child":"x"},"auth":{"admin":true},"domain":"firebaseio.com","resource":"projects/_/instances/shop/refs/carts/x","data":{"data":null,"delta":{"n":10}}`,
		`"type":"google.firebase.database.ref.v1.written","source":"//firebasedatabase.googleapis.com/projects/_/locations/us-central1/instances/shop","subject":"refs/carts/x","data":{"data":null,"delta":{"n":10}}`, ``,
		`"eventType":"providers/google.firebase.database/eventTypes/ref.write","resource":"projects/_/instances/shop/refs/carts/x"},"data":{"data":null,"delta":{"n":10}}`},
	{"a database elsewhere", `STAMP,"eventType":"providers/google.firebase.database/eventTypes/ref.delete","domain":"europe-west1.firebasedatabase.app","resource":"projects/_/instances/shop/refs/carts","data":{"data":{"n":["a",2]},"delta":null}`,
		`"type":"google.firebase.database.ref.v1.deleted","source":"//firebasedatabase.googleapis.com/projects/_/locations/europe-west1/instances/shop","subject":"refs/carts","data":{"data":{"n":["a",2]},"delta":null}`, ``,
		`"eventType":"providers/google.firebase.database/eventTypes/ref.delete","resource":"projects/_/instances/shop/refs/carts"},"data":{"data":{"n":["a",2]},"delta":null}`},
	{"a document", `STAMP,"eventType":"providers/cloud.firestore/eventTypes/document.write","params":{"doc":"d1"},"resource":"projects/shop/databases/(default)/documents/orders/d1","data":{"oldValue":{},"updateMask":{},"value":{"fields":{"n":{"doubleValue":5.5},"at":{"geoPointValue":{"longitude":-0.9781}}}}}`,
		`"type":"google.cloud.firestore.document.v1.written","source":"//firestore.googleapis.com/projects/shop/databases/(default)","subject":"documents/orders/d1","data":{"oldValue":{},"updateMask":{},"value":{"fields":{"n":{"doubleValue":5.5},"at":{"geoPointValue":{"longitude":-0.9781}}}}}`, ``,
		`"eventType":"providers/cloud.firestore/eventTypes/document.write","resource":"projects/shop/databases/(default)/documents/orders/d1"},"data":{"oldValue":{},"updateMask":{},"value":{"fields":{"n":{"doubleValue":5.5},"at":{"geoPointValue":{"longitude":-0.9781}}}}}`},
}

const (
	stamp      = `"eventId":"e-1","timestamp":"2026-11-26T10:42:27.123Z"`
	attributes = `{"specversion":"1.0","id":"e-1","time":"2026-11-26T10:42:27.123Z","datacontenttype":"application/json",`
)

// Converted checks a function that takes events at url and works in dir: what is an event of before CloudEvents reaches it as a CloudEvent.
func Converted(t *testing.T, url, dir string) {
	t.Helper()
	for _, c := range conversions {
		t.Run(c.name, func(t *testing.T) {
			deliver(t, url, "application/json", "{"+strings.ReplaceAll(c.legacy, "STAMP", stamp)+"}")
			same(t, output(t, dir), parse(t, attributes+c.event+"}"))
		})
	}
}

// Background checks a function that takes events of before CloudEvents, as {"data", "context"}: such events, and what is a CloudEvent reaches it as one of before.
func Background(t *testing.T, url, dir string) {
	t.Helper()
	for _, c := range conversions {
		t.Run(c.name, func(t *testing.T) {
			text := strings.ReplaceAll(c.legacy, "STAMP", stamp)
			deliver(t, url, "application/json", "{"+text+"}")
			got, want := output(t, dir), parse(t, "{"+text+"}")
			context, _ := want["context"].(map[string]any)
			if context == nil {
				context = want
			}
			background(t, got, context, want["data"])
			if c.back == "" {
				return
			}
			var e cloudevents.Event
			if err := json.Unmarshal([]byte(attributes+c.event+"}"), &e); err != nil {
				t.Fatal(err)
			}
			if c.sent != "" {
				if err := e.SetData("application/json", json.RawMessage(c.sent)); err != nil {
					t.Fatal(err)
				}
			}
			client, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(url))
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Send(t.Context(), e); !cloudevents.IsACK(err) { // in binary mode: the frameworks know no other here
				t.Fatal(err)
			}
			got, want = output(t, dir), parse(t, `{"context":{`+stamp+`,`+c.back+`}`)
			background(t, got, want["context"].(map[string]any), want["data"])
		})
	}
}

// background compares what a function of before CloudEvents got. Its language may write the names of the context with "_".
func background(t *testing.T, got, context map[string]any, data any) {
	t.Helper()
	has, _ := got["context"].(map[string]any)
	for name, other := range map[string]string{"eventId": "event_id", "eventType": "event_type", "timestamp": "timestamp", "resource": "resource"} {
		v, ok := has[name]
		if !ok {
			v = has[other]
		}
		if s, ok := v.(string); ok && name == "timestamp" {
			at, err := time.Parse(time.RFC3339Nano, s)
			if err != nil {
				t.Error(err)
			}
			v = at.UTC().Format("2006-01-02T15:04:05.000Z")
		}
		if !reflect.DeepEqual(v, context[name]) {
			t.Errorf("%s: the function got %v, want %v", name, v, context[name])
		}
	}
	if !reflect.DeepEqual(got["data"], data) {
		t.Errorf("the function got the data %v, want %v", got["data"], data)
	}
}

func deliver(t *testing.T, url, kind, body string) {
	t.Helper()
	resp, err := http.Post(url, kind, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode < 200 || resp.StatusCode > 299 {
		t.Fatalf("status %d: %s", resp.StatusCode, text)
	}
}

func parse(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

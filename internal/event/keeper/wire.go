package keeper

import (
	"encoding/json"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// TokenHeader is the header of gitd's requests. Not Authorization: the API server keeps that one for itself.
const TokenHeader = "Gitd-Token"

// Seen is an event that a broker has delivered to the keeper, as to each of its triggers.
type Seen struct {
	Number int64           `json:"number"`
	Broker string          `json:"broker"`
	From   event.Sender    `json:"from"` // of one that gitd sent; the zero value for others
	Time   time.Time       `json:"time"`
	Event  json.RawMessage `json:"event"`          // structured
	Took   []Took          `json:"took,omitempty"` // of what the keeper itself delivered: the triggers whose apps, or what takes their dead letters, have taken it
}

// Took is a trigger of an app.
type Took struct {
	App     string `json:"app"`
	AppID   int64  `json:"appId"`
	Trigger string `json:"trigger"`
	Sink    bool   `json:"sink,omitempty"` // what takes its dead letters has it
}

// Letter is an event that a trigger could not deliver, or that waits to be delivered once more.
type Letter struct {
	ID      int64           `json:"id"`
	Number  int64           `json:"number"` // of the event
	Broker  string          `json:"broker"`
	From    event.Sender    `json:"from"` // of one that gitd sent
	App     string          `json:"app"`
	AppID   int64           `json:"appId"`
	Trigger string          `json:"trigger"`
	Time    time.Time       `json:"time"`
	Event   json.RawMessage `json:"event"` // structured, as the app would have got it
	Failure event.Failure   `json:"failure"`
	Died    time.Time       `json:"died,omitzero"` // when it was last given up by the keeper; until then it is dead since Time
	Again   *Again          `json:"again,omitempty"`
	Tries   int             `json:"tries,omitempty"` // by the keeper
	Out     bool            `json:"out,omitempty"`   // to a broker: gitd has sent it; it has no app. Without Again, the broker has refused it
}

// Again is how an event is delivered once more: by the keeper, to one trigger alone.
type Again struct {
	To       string         `json:"to"`    // URL of the trigger's app
	Reply    string         `json:"reply"` // URL of the broker, which takes the event that the app answers with
	Delivery event.Delivery `json:"delivery"`
	Dead     string         `json:"dead,omitempty"`   // URL of what takes its dead letters
	Failed   *event.Failure `json:"failed,omitempty"` // why: To is what takes dead letters
}

// Own is an event of gitd's own, which no broker of Knative gets: an app could send one like it, and Knative could not keep it from the apps of others. The
// keeper delivers it to those who take it.
type Own struct {
	Broker string          `json:"broker"`
	From   event.Sender    `json:"from"`
	Event  json.RawMessage `json:"event"`
	Takers []Taker         `json:"takers"`
	// Lenient says that an app which has no room for one more letter goes without, and not that no app gets the event.
	Lenient bool `json:"lenient,omitempty"`
}

// Taker is a trigger that takes an event.
type Taker struct {
	App     string `json:"app"`
	AppID   int64  `json:"appId"`
	Trigger string `json:"trigger"`
	Again   Again  `json:"again"`
}

// Mail is an event that gitd sends.
type Mail struct {
	To     string          `json:"to"` // URL of the broker
	Broker string          `json:"broker"`
	From   event.Sender    `json:"from"`
	Event  json.RawMessage `json:"event"`
}

// Sent is what became of a Mail or an Own: it is on the disk, or the broker has refused it.
type Sent struct {
	Refused   int    `json:"refused,omitempty"` // the status of the broker's answer
	Detail    string `json:"detail,omitempty"`  // the beginning of that answer
	Number    int64  `json:"number,omitempty"`  // of the event; 0 where it has not come to the keeper yet
	Duplicate bool   `json:"duplicate,omitempty"`
	// Without are apps that went without an Own, for they have as many letters as they may.
	Without []string `json:"without,omitempty"`
}

// Order asks for events to be delivered once more.
type Order struct {
	Letters []int64 `json:"letters,omitempty"` // these letters
	Events  []int64 `json:"events,omitempty"`  // or these events, for the trigger below
	Broker  string  `json:"broker,omitempty"`
	App     string  `json:"app,omitempty"`
	AppID   int64   `json:"appId,omitempty"`
	Trigger string  `json:"trigger,omitempty"`
	Again   Again   `json:"again"`
}

// Done is the answer to an Order.
type Done struct {
	Queued int `json:"queued"`
}

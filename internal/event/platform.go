package event

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Platform is what has brokers and delivers. Everything that it accepts survives the end of gitd at any moment. Errors that people can do something about are
// *app.Errors: NotFound for a broker, an event or a token that does not exist, LimitExceeded or Unavailable where there is no room.
type Platform interface {
	// Ready returns an *app.Error where no trigger can work, because something has to be installed first, or where one of these cannot.
	Ready(ctx context.Context, all ...Trigger) error
	// Start begins to deliver. It is called once, when the triggers of what is live are set. Events are accepted before as well.
	Start()
	// Send accepts an event into a broker ("" for the default one) and returns once it is on disk; it is delivered after that to each trigger whose filters it
	// passes at that moment. An event whose source and id the broker has already from that sender is accepted and not delivered again. It returns CodeNotFound for a broker that
	// does not exist, CodeInvalidInput for an event that Check refuses or whose time to live is used up, and CodeUnavailable where there is no room: try later.
	Send(ctx context.Context, broker string, e Event, from Sender) (Receipt, error)

	// Announce is Send of what gitd itself has to tell, to the default broker. Where no trigger takes it, nothing is kept: then the Receipt is empty. A platform that
	// cannot keep an event from the apps of others tells nothing.
	Announce(ctx context.Context, e Event, from Sender) (Receipt, error)

	// SetTriggers makes these the triggers of an app, in place of those that it had. The release machine calls it when a release has gone live, with those of its
	// Service, and the server when it starts. What is queued for a trigger that is not among them any more becomes a dead letter; so that nothing is lost, what
	// is queued for one that is there, also with other settings, stays. A release that is older than the one whose triggers are set may be refused: numbers of
	// releases only rise.
	SetTriggers(ctx context.Context, of Owner, all []Trigger) error
	// Owners returns the apps whose triggers are set, by name, with the release that they are of. One without triggers may be missing.
	Owners(ctx context.Context) (map[string]Owner, error)
	// Triggers returns the triggers that are live, of one app or, for "", of all, by app and name.
	Triggers(ctx context.Context, name string) ([]Live, error)
	// Forget ends all triggers of an app that is destroyed. What is queued for it becomes dead letters, with that as the reason.
	Forget(ctx context.Context, of Owner) error

	// Brokers returns the brokers, the default one first.
	Brokers(ctx context.Context) ([]Broker, error)
	// CreateBroker makes a broker; CodeExists if there is one of that name.
	CreateBroker(ctx context.Context, name, by string) error
	// DeleteBroker removes a broker with its tokens and its events; CodeInvalidInput for the default one, where deliveries of it wait or are dead, and where live
	// triggers are of it.
	DeleteBroker(ctx context.Context, name string) error
	// ShareBroker gives a broker to these keys: their apps, and those of administrators, may send to it and have triggers of it, and get all of its events. Without keys it is for
	// every app again, and an app gets what Rights say. It returns CodeInvalidInput for the default one, which is for every app.
	ShareBroker(ctx context.Context, name string, keys []string) error

	// CreateToken makes a token with which a broker takes events over HTTP. It is returned once, and kept as a hash.
	CreateToken(ctx context.Context, broker, name, by string) (token string, err error)
	// Tokens returns the tokens of a broker, by name, without what they are.
	Tokens(ctx context.Context, broker string) ([]Token, error)
	// RevokeToken removes a token: a request that comes in after it returns is refused.
	RevokeToken(ctx context.Context, broker, name string) error

	// List returns events with their deliveries, the newest first, and without their data.
	List(ctx context.Context, q Query) ([]Record, error)
	// Show returns one event with its deliveries and their attempts, by its number ("e12"). It returns CodeNotFound where it is not kept any more.
	Show(ctx context.Context, number int64) (Record, error)
	// Tail calls do with each event that is accepted from now on and passes the query, until ctx ends or do fails. Where do is slower than events come, some are
	// left out: missed counts those since the call before.
	Tail(ctx context.Context, q Query, do func(r Record, missed int) error) error

	// RetryDead queues dead letters of an app again: those of the events with these numbers, or, without any, all of them. It returns how many. Those whose trigger
	// is not live any more stay what they are: then it returns CodeNotFound as well.
	RetryDead(ctx context.Context, of Owner, numbers []int64) (int, error)
	// Discard removes dead letters of an app: those of the events with these numbers, or, without any, all of them. It returns how many.
	Discard(ctx context.Context, of Owner, numbers []int64) (int, error)
	// RetryRefused sends events once more that a broker accepted, and then refused: those with these numbers, or, without any, all of them. DiscardRefused gives them up. They return
	// how many. It happens where the broker is another program.
	RetryRefused(ctx context.Context, broker string, numbers []int64) (int, error)
	DiscardRefused(ctx context.Context, broker string, numbers []int64) (int, error)
	// Replay queues the events that came in since a time and pass the filters of a trigger of an app for that trigger alone. It returns how many,
	// and CodeLimitExceeded where more would wait than may.
	Replay(ctx context.Context, of Owner, trigger string, since time.Time) (int, error)
}

// Owner is an app at a release.
type Owner struct {
	App     string
	ID      int64 // of the app: another one of that name is another owner
	Release int   // that is live
}

// Live is a trigger that is live.
type Live struct {
	Owner
	Trigger
	Queued, Dead int // deliveries
}

// Broker takes events.
type Broker struct {
	Name    string
	By      string // the key that made it; "" for the default one
	Created time.Time
	Events  int      // that are kept
	Queued  int      // deliveries
	Dead    int      // deliveries
	Bytes   int64    // that they take
	Keys    []string // to whose apps it was given; none where it is for every app
}

// Token lets those who have it send events to a broker over HTTP.
type Token struct {
	Name    string
	By      string // the key that made it
	Created time.Time
	Used    time.Time // last; the zero time for never
}

// Sender is who sent an event.
type Sender struct {
	Kind SenderKind
	Name string // of the app, the key or the token
	ID   int64  // of the app, also of the one that an event of FromSource is about
}

// SenderKind is what sent an event.
type SenderKind string

// The senders.
const (
	FromApp    SenderKind = "app"    // by K_SINK
	FromReply  SenderKind = "reply"  // an app, as the answer to an event
	FromKey    SenderKind = "key"    // by the command
	FromToken  SenderKind = "token"  // over HTTP
	FromSource SenderKind = "source" // gitd itself: schedules, webhooks, what becomes of releases
)

// Receipt says what became of an event that was sent.
type Receipt struct {
	Number    int64 // by which the platform knows the event; 0 where it has no numbers
	Duplicate bool  // the broker had it already
	Triggers  int   // that it is delivered to
}

// Query narrows events.
type Query struct {
	Broker  string         // "" for all
	Filters []Filter       // all of which they pass
	Apps    map[int64]bool // IDs of apps, one of which has sent it or gets it; nil for all
	Key     string         // besides those of Apps, those that this key has sent
	Dead    bool           // those with a dead letter alone: of these Apps, if any are given
	Before  int64          // those with a lower number; 0 for all
	Since   time.Time      // those that came in at that time or later
	Limit   int
}

// Sees says whether an event is among those that the query is about, but for its filters and its time.
func (q *Query) Sees(r *Record) bool {
	if q.Broker != "" && r.Broker != q.Broker {
		return false
	}
	if q.Apps == nil || q.Apps[r.From.ID] || q.Key != "" && r.From.Kind == FromKey && r.From.Name == q.Key {
		return true
	}
	return slices.ContainsFunc(r.Deliveries, func(d DeliveryRecord) bool { return q.Apps[d.AppID] })
}

// State is what has become of a delivery.
type State string

// The states.
const (
	StateQueued    State = "queued"      // it is tried, or waits for the next attempt
	StateDelivered State = "delivered"   // the app took it
	StateSunk      State = "dead-letter" // what takes its dead letters took it
	StateDead      State = "dead"        // it could not be delivered, and is kept
	StateDiscarded State = "discarded"   // it was dead, and is not any more
	// StateHandedOver is that of a delivery which a broker of a cluster makes: it does not tell how far it is.
	StateHandedOver State = "handed-over"
)

// Record is an event that a broker took.
type Record struct {
	Number     int64
	Broker     string
	From       Sender
	Accepted   time.Time
	Event      Event
	Deliveries []DeliveryRecord
}

// DeliveryRecord is what has become of an event for one trigger.
type DeliveryRecord struct {
	Number   int64
	App      string
	AppID    int64
	Trigger  string
	State    State
	Reason   string // of one that is dead
	Attempts int
	Due      time.Time // of the next attempt, of one that is queued
	Replay   bool      // it was asked for by hand
	Log      []Attempt // the attempts that are kept, the first one and the last ones, oldest first; of List, the last one alone
}

// Attempt is one attempt to deliver.
type Attempt struct {
	At     time.Time
	Took   time.Duration
	Sink   string // where to: an app with a path, or a URL
	Status int    // of the answer; 0 for none
	Error  string // why there was none, or the beginning of the answer that says why it failed
}

// NoBroker is the error for a broker that does not exist.
func NoBroker(name string) error {
	return app.Errorf(app.CodeNotFound, "see the brokers: gitd brokers; an administrator makes one: gitd brokers create NAME", "the broker %q does not exist", app.Clip(name, 60))
}

// NotShared is the error for a broker that was not given to a sender, or to the owner of an app.
func NotShared(name string) error {
	return app.Errorf(app.CodeForbidden, "ask an administrator: gitd brokers share "+name+" KEY...; or use another, see gitd brokers", "the broker %q was given to other keys", name)
}

// DefaultIsShared is the error for keys of the default broker.
func DefaultIsShared() error {
	return app.Errorf(app.CodeInvalidInput, "make one for them: gitd brokers create NAME", "the default broker is for every app")
}

// BrokerInUse is the error for a broker that is not deleted, since live triggers of these apps are of it.
func BrokerInUse(name string, apps []string) error {
	slices.Sort(apps)
	return app.Errorf(app.CodeInvalidInput, "push releases of them without those triggers, or destroy the apps, and delete it then", "the broker %q is that of live triggers of %s", name, app.Clip(strings.Join(apps, ", "), 200))
}

// NoEvent is the error for an event that does not exist.
func NoEvent(number int64) error {
	return app.Errorf(app.CodeNotFound, "see what there is: gitd events list", "there is no event e%d: it never was, or it is not kept any more", number)
}

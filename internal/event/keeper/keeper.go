// Package keeper is what runs beside Knative Eventing on a cluster and keeps what Knative does not: dead letters, on a volume, until they are
// retried or discarded, and the last events of the brokers, in memory. It is also gitd's way to the brokers: the API server passes gitd's requests
// to it, so that gitd may be anywhere.
package keeper

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// Bounds of what is kept and taken.
const (
	maxBody    = 4 << 20 // of an event: brokers of Knative have no bound of their own
	maxOrder   = 1 << 20
	maxAnswer  = 8 << 20 // of letters with their events
	MaxLetters = 20_000
	maxBytes   = 512 << 20 // of all letters
	maxSeen    = 10_000
	maxSeenAll = 32 << 20 // bytes of the last events
	fullWait   = "30"     // seconds, for a sender that finds it full
)

// Keeper is the server.
type Keeper struct {
	token   string
	letters *letters
	seen    *seen
	client  *http.Client
	mux     *http.ServeMux
	stop    context.CancelFunc
	ctx     context.Context

	owns sync.Mutex // of who adds one of gitd's own events
	door *door

	deliveries, mail, coming *turns
	perApp                   *shares
}

// InKey is the part of an address that only Knative's objects know: an app cannot send the keeper a dead letter of another one.
func InKey(token string) string {
	h := hmac.New(sha256.New, []byte(token))
	h.Write([]byte("in"))
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// New opens the letters in a directory, and goes on with those that wait to be delivered once more.
func New(dir, token string) (*Keeper, error) {
	if token == "" {
		return nil, errors.New("a keeper needs a token")
	}
	numbers, err := openNumbers(dir)
	if err != nil {
		return nil, err
	}
	l, err := openLetters(dir, numbers)
	if err != nil {
		return nil, err
	}
	k := &Keeper{token: token, letters: l, seen: newSeen(numbers), mux: http.NewServeMux(), client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, deliveries: newTurns(maxDeliveries, inFlight), mail: newTurns(maxMail, inFlight), coming: newTurns(inComing/leastBody, inComing), door: newDoor(), perApp: newShares(maxOfApp)}
	k.ctx, k.stop = context.WithCancel(context.Background())
	in := "/in/" + InKey(token)
	k.mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	k.mux.HandleFunc("POST "+in+"/dead/{broker}/{app}/{id}/{trigger}", k.inTurn(k.takeLetter))
	k.mux.HandleFunc("POST "+in+"/gone", k.forget)
	k.mux.HandleFunc("POST "+in+"/seen/{broker}", k.inTurn(k.takeSeen))
	k.mux.HandleFunc("POST /send", k.own(k.send))
	k.mux.HandleFunc("POST /own", k.own(k.takeOwn))
	k.mux.HandleFunc(DoorPath+"/", k.enter)
	k.mux.HandleFunc("GET /asked", k.own(k.listAsked))
	k.mux.HandleFunc("POST /asked/{id}", k.own(k.takeAnswer))
	k.mux.HandleFunc("GET /seen", k.own(k.listSeen))
	k.mux.HandleFunc("GET /letters", k.own(k.listLetters))
	k.mux.HandleFunc("DELETE /letters/{id}", k.own(k.removeLetter))
	k.mux.HandleFunc("POST /again", k.own(k.again))
	for _, letter := range l.waiting() {
		k.begin(&letter)
	}
	go k.expire()
	return k, nil
}

// begin goes on with a letter that waits.
func (k *Keeper) begin(l *Letter) {
	if l.Out {
		go k.carry(l.ID, &posting{})
	} else {
		go k.deliver(l.ID, l.AppID)
	}
}

// expire removes letters that are dead for too long.
func (k *Keeper) expire() {
	for ok := true; ok; ok = k.sleep(lookDead) {
		k.letters.expire(time.Now().Add(-keepDead))
	}
}

// Close ends the deliveries; they go on with the next start.
func (k *Keeper) Close() { k.stop() }

// ServeHTTP implements http.Handler.
func (k *Keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) { k.mux.ServeHTTP(w, r) }

// own lets only gitd in.
func (k *Keeper) own(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get(TokenHeader)), []byte(k.token)) != 1 {
			http.Error(w, "this is for gitd", http.StatusForbidden)
			return
		}
		h(w, r)
	}
}

// inTurn bounds the bodies that are read at a time.
func (k *Keeper) inTurn(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		size := r.ContentLength
		if size < 0 || size > maxBody {
			size = maxBody
		}
		done := k.coming.take(r.Context(), max(size, leastBody))
		if done == nil {
			return // the sender is gone
		}
		defer done()
		h(w, r)
	}
}

// takeLetter keeps an event that a trigger could not deliver. It is on the disk when the answer is 202.
func (k *Keeper) takeLetter(w http.ResponseWriter, r *http.Request) {
	e, _, ok := readEvent(w, r)
	if !ok {
		return
	}
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	letter := Letter{Broker: r.PathValue("broker"), App: r.PathValue("app"), AppID: id, Trigger: r.PathValue("trigger")}
	letter.Number = k.seen.number(letter.Broker, &e)
	e, letter.Failure = failed(e)
	if letter.Event, err = json.Marshal(e); err == nil {
		err = k.letters.add(&letter)
	}
	if err != nil {
		notKept(w, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// notKept answers a request whose event could not be written.
func notKept(w http.ResponseWriter, err error) {
	if errors.Is(err, errFull) {
		w.Header().Set("Retry-After", fullWait)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// failed takes from an event what Knative says of the failure to deliver it. Knative writes the answer in base64, cut after a number of bytes.
func failed(e event.Event) (event.Event, event.Failure) {
	status, _ := strconv.Atoi(e.Extensions["knativeerrorcode"])
	f := event.Failure{Destination: e.Extensions["knativeerrordest"], Status: status}
	text := e.Extensions["knativeerrordata"]
	if data, err := base64.StdEncoding.DecodeString(text[:len(text)/4*4]); err == nil {
		f.Data = data
	} else {
		f.Data = []byte(text)
	}
	return e.With("knativeerrordest", "").With("knativeerrorcode", "").With("knativeerrordata", ""), f
}

// forget takes an event that came to a trigger which takes none any more.
func (k *Keeper) forget(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }

func (k *Keeper) takeSeen(w http.ResponseWriter, r *http.Request) {
	e, text, ok := readEvent(w, r)
	if !ok {
		return
	}
	if err := k.seen.add(r.PathValue("broker"), &e, text); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// readEvent reads the event of a request, and answers it where there is none. One that is larger than gitd sends is taken: the broker has taken it.
func readEvent(w http.ResponseWriter, r *http.Request) (e event.Event, text json.RawMessage, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the event is too large", http.StatusRequestEntityTooLarge)
		return e, nil, false
	}
	e, err = event.FromHTTP(r.Header, body)
	var known *app.Error
	if errors.As(err, &known) && known.Code == app.CodeLimitExceeded {
		err = nil
	}
	if err == nil {
		text, err = json.Marshal(e)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return e, nil, false
	}
	return e, text, true
}

// listSeen writes events, a line of JSON each: the newest first, those with a number below "before"; with "follow" those above "after", the oldest first, until
// the client goes.
func (k *Keeper) listSeen(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	q := r.URL.Query()
	out := json.NewEncoder(w)
	if q.Get("follow") == "" {
		for _, s := range k.seen.before(number(q.Get("before"), 1<<62), int(number(q.Get("limit"), 500))) {
			if out.Encode(s) != nil {
				return
			}
		}
		return
	}
	after := number(q.Get("after"), k.seen.last())
	for {
		all, more := k.seen.after(after)
		for _, s := range all {
			if out.Encode(s) != nil {
				return
			}
			after = s.Number
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-more:
		case <-k.ctx.Done():
			return
		case <-r.Context().Done():
			return
		}
	}
}

func number(text string, otherwise int64) int64 {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// writeLetters writes letters with their events. It ends where the answer gets long: the rest is asked for again.
func (k *Keeper) writeLetters(out *json.Encoder, ids []string) {
	written := 0
	for _, id := range ids {
		l, err := k.letters.read(number(id, 0))
		if err != nil {
			continue // removed meanwhile
		}
		if out.Encode(l) != nil {
			return
		}
		if written += len(l.Event); written > maxAnswer {
			return
		}
	}
}

// listLetters writes the letters, the newest first, a line of JSON each; with "app" those of an app's ID, with "ids" these, with their events. Without "full" others have none.
func (k *Keeper) listLetters(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	q := r.URL.Query()
	out := json.NewEncoder(w)
	if ids := q.Get("ids"); ids != "" {
		k.writeLetters(out, strings.Split(ids, ","))
		return
	}
	for _, l := range k.letters.list(number(q.Get("app"), 0), number(q.Get("number"), 0), number(q.Get("before"), 1<<62), int(number(q.Get("limit"), MaxLetters))) {
		if q.Get("full") != "" {
			var err error
			if l, err = k.letters.read(l.ID); err != nil {
				continue // removed meanwhile
			}
		}
		if out.Encode(l) != nil {
			return
		}
	}
}

func (k *Keeper) removeLetter(w http.ResponseWriter, r *http.Request) {
	if err := k.letters.remove(number(r.PathValue("id"), 0)); err != nil {
		http.Error(w, "there is no such letter", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

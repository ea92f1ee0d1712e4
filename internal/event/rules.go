package event

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gitd-io/gitd/internal/app"
)

// Verdict is what an answer means for a delivery.
type Verdict int

// The verdicts.
const (
	Delivered Verdict = iota
	Retry             // it failed, and may be tried again
	Failed            // it failed, and no retry would help
)

// Judge is what an answer's status means; 0 stands for no answer.
func Judge(status int) Verdict {
	switch {
	case status >= 200 && status < 300:
		return Delivered
	case status == 0, status >= 500, status == http.StatusNotFound, status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooManyRequests:
		return Retry
	}
	return Failed
}

// Replies says whether an answer with this status may be an event: one that was only accepted never is.
func Replies(status int) bool { return status >= 200 && status < 300 && status != http.StatusAccepted }

// The extensions of Knative's brokers.
const (
	ttlAttribute       = "knativebrokerttl"
	errorDestAttribute = "knativeerrordest"
	errorCodeAttribute = "knativeerrorcode"
	errorDataAttribute = "knativeerrordata"
)

// DefaultTTL is how often an event may go through brokers.
const DefaultTTL = 255

// maxErrorData is how many bytes of a failed answer a dead letter has, encoded.
const maxErrorData = 1024

// Spend takes the event of a sender into a broker: its time to live is one less, and begins at DefaultTTL. It returns an *app.Error where that is used up.
func (e Event) Spend() (Event, error) {
	ttl := DefaultTTL
	if v, ok := e.Extensions[ttlAttribute]; ok {
		n, err := strconv.Atoi(v)
		if err == nil && n <= 0 {
			return e, app.Errorf(app.CodeInvalidInput, "look for a trigger whose app answers with events that the trigger takes", "the event's %s is %d: it has gone in circles", ttlAttribute, n)
		}
		if err == nil {
			ttl = min(n, DefaultTTL)
		}
	}
	return e.With(ttlAttribute, strconv.Itoa(ttl-1)), nil
}

// ForApp is the event as an app gets it: without its time to live.
func (e Event) ForApp() Event { return e.With(ttlAttribute, "") }

// ReplyTo is an event that an app answered with to another: it has the time to live of that.
func (e Event) ReplyTo(to *Event) Event {
	ttl, ok := to.Extensions[ttlAttribute]
	if !ok {
		ttl = strconv.Itoa(DefaultTTL)
	}
	return e.With(ttlAttribute, ttl)
}

// Failure is how the last attempt of a delivery ended.
type Failure struct {
	Destination string // its URL
	Status      int    // of the answer; 0 for none
	Data        []byte // the beginning of the answer's body, or why there was none
}

// Dead is the event with the attributes that say why it could not be delivered.
func (e Event) Dead(f Failure) Event {
	e = e.With(errorDestAttribute, f.Destination)
	code := ""
	if f.Status != 0 {
		code = strconv.Itoa(f.Status)
	}
	return e.With(errorCodeAttribute, code).With(errorDataAttribute, errorData(f.Data))
}

// errorData is text as it is, and anything else in base64; never more than maxErrorData.
func errorData(data []byte) string {
	if len(data) > maxErrorData {
		data = data[:maxErrorData]
		for i := 0; i < utf8.UTFMax && len(data) > 0 && !utf8.Valid(data); i++ { // it may be cut within a character
			data = data[:len(data)-1]
		}
	}
	text := strings.TrimSpace(string(data))
	if utf8.ValidString(text) && checkValue("", text) == nil {
		return text
	}
	n := min(len(data), base64.StdEncoding.DecodedLen(maxErrorData)-3)
	return base64.StdEncoding.EncodeToString(data[:n])
}

// String is what people read of a failure.
func (f Failure) String() string {
	if f.Status == 0 {
		return app.Line(string(f.Data), 300)
	}
	if text := app.Line(string(f.Data), 200); text != "" {
		return fmt.Sprintf("%d: %s", f.Status, text)
	}
	return fmt.Sprintf("%d %s", f.Status, http.StatusText(f.Status))
}

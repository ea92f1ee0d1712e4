package knative

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/keeper"
)

// Requests from outside, those of webhooks and of who has a token of a broker, come to a Knative Service with the name, the address and the certificate that apps have here. It
// takes them to the keeper, and gitd comes there by way of the API server and answers them: so gitd may be where no request reaches it.
//
//	outside ─▶ broker (a Knative Service, at zero when idle) ─▶ gitd-events, which holds them ◀─ gitd

// doorLabel marks the Knative Service.
const doorLabel = "gitd.io/door"

// Bounds of what gitd answers.
const (
	atOnce    = 64 // requests
	doorAgain = time.Second
	doorLook  = 30 * time.Second // for a door that another process of this gitd has made
)

// Door has requests from outside come in, and returns the URL to which they are sent.
func (p *Platform) Door(ctx context.Context) (string, error) {
	if to := p.KnownDoor(ctx); to != "" {
		return to, nil
	}
	if err := p.installed(ctx); err != nil {
		return "", err
	}
	if _, err := p.ensureBroker(ctx, event.DefaultBroker); err != nil {
		return "", err
	}
	if _, err := p.ensureKeeper(ctx); err != nil {
		return "", err
	}
	defer p.locks.Lock("/door")()
	there, err := p.get(ctx, knativeServices, event.Host)
	if err != nil {
		return "", explained(err, "look for the Knative Service "+event.Host)
	}
	if there != nil && !p.isDoor(there) {
		return "", app.Errorf(app.CodeExists, "destroy it, and push it under another name", "requests from outside would come to the Knative Service %s in the namespace %s, which is something else", event.Host, p.o.Namespace)
	}
	image, err := p.o.Image(ctx)
	if err != nil {
		return "", err
	}
	pull, err := p.applyPull(ctx)
	if err != nil {
		return "", err
	}
	mark := map[string]any{doorLabel: cmp.Or(p.o.Instance, manager)}
	if _, _, err := p.c.Apply(ctx, knativeServices, p.side(event.Host, image, pull, mark, "KEEPER_DOOR", "http://"+keeperName+"."+p.o.Namespace)); err != nil {
		return "", explained(err, "make the Knative Service "+event.Host)
	}
	if err := p.waitReady(ctx, knativeServices, "Knative Service", event.Host); err != nil {
		return "", explained(err, "wait for the Knative Service "+event.Host)
	}
	return p.KnownDoor(ctx), nil
}

func (p *Platform) isDoor(u *unstructured.Unstructured) bool {
	return u.GetLabels()[doorLabel] == cmp.Or(p.o.Instance, manager)
}

// KnownDoor is the URL to which requests from outside are sent; "" where none come in. It makes nothing.
func (p *Platform) KnownDoor(ctx context.Context) string {
	p.mu.Lock()
	to := p.door
	p.mu.Unlock()
	if to != "" {
		return to
	}
	there, err := p.get(ctx, knativeServices, event.Host)
	if err != nil || there == nil || !p.isDoor(there) {
		return ""
	}
	if ready, _ := condition(there); !ready {
		return ""
	}
	to, _, _ = unstructured.NestedString(there.Object, "status", "url")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.door == "" && to != "" {
		p.door = to
		close(p.opened)
	}
	return to
}

// AnswerDoor has a handler answer the requests from outside, until ctx ends.
func (p *Platform) AnswerDoor(ctx context.Context, h http.Handler) {
	slots := make(chan struct{}, atOnce)
	said := ""
	for ctx.Err() == nil {
		if p.KnownDoor(ctx) == "" {
			select {
			case <-p.opened:
			case <-time.After(doorLook):
			case <-ctx.Done():
			}
			continue
		}
		began := time.Now()
		err := p.answerDoor(ctx, h, slots)
		if ctx.Err() != nil {
			return
		}
		if text := app.OneLine(err); err != nil && text != said {
			p.o.Log("events: requests from outside are not answered for a moment: %v", err)
			said = text
		}
		if time.Since(began) > time.Minute {
			said = ""
		}
		select {
		case <-time.After(doorAgain):
		case <-ctx.Done():
		}
	}
}

// answerDoor takes requests until the stream of them breaks.
func (p *Platform) answerDoor(ctx context.Context, h http.Handler, slots chan struct{}) error {
	token, err := p.ensureKeeper(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.c.REST.Get().AbsPath(p.keeperPath("/asked")).SetHeader(keeper.TokenHeader, token).MaxRetries(0).Stream(ctx)
	if err != nil {
		return explained(err, "take requests from outside")
	}
	defer stream.Close()
	quiet := time.AfterFunc(time.Minute, cancel) // the keeper says three times a minute that it is there
	defer quiet.Stop()
	for d := json.NewDecoder(stream); ; {
		var a keeper.Asked
		if err := d.Decode(&a); err != nil {
			if err == io.EOF || ctx.Err() != nil {
				return nil
			}
			return err
		}
		quiet.Reset(time.Minute)
		if a.ID == 0 {
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		go func() {
			defer func() { <-slots }()
			p.answerOne(context.WithoutCancel(ctx), h, &a)
		}()
	}
}

// answerOne answers one request. One that finds no answer in time is told so by the keeper.
func (p *Platform) answerOne(ctx context.Context, h http.Handler, a *keeper.Asked) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, a.Method, "http://"+event.Host+a.URI, bytes.NewReader(a.Body))
	if err != nil {
		p.o.Log("events: a request from outside cannot be read: %v", err)
		return
	}
	q.RequestURI, q.Header = a.URI, a.Header
	w := &doorAnswer{header: http.Header{}}
	h.ServeHTTP(w, q)
	w.WriteHeader(http.StatusOK)
	status, body, err := p.ask(ctx, http.MethodPost, "/asked/"+strconv.FormatInt(a.ID, 10), nil, keeper.Answered{Status: w.status, Header: w.header, Body: w.body.Bytes()})
	if err == nil && status != http.StatusNoContent {
		err = unanswered(status, body)
	}
	if err != nil {
		p.o.Log("events: the answer to a request from outside is lost: %v", err)
	}
}

// doorAnswer is an answer that is kept.
type doorAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *doorAnswer) Header() http.Header { return w.header }

func (w *doorAnswer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *doorAnswer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

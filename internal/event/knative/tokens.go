package knative

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/ingress"
	"github.com/gitd-io/gitd/internal/kube"
)

// tokensName is that of the Secret with the hashes of the brokers' tokens. Only gitd writes it, so that it is read once.
const tokensName = keeperName + "-tokens"

// Bounds of tokens: a Secret has at most 1 MiB.
const (
	maxTokens    = 100 // of one broker
	maxAllTokens = 2000
	tokenUse     = time.Minute // how often the use of one is noted
)

// token is what is kept of a token.
type token struct {
	Hash    []byte    `json:"hash"`
	By      string    `json:"by"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used,omitzero"`
}

// tokenKey names a token in the Secret: neither brokers nor tokens have a dot in their names.
func tokenKey(broker, name string) string { return broker + "." + name }

// tokens reads the tokens, by key; the caller holds their lock.
func (p *Platform) tokens(ctx context.Context) (map[string]token, error) {
	if p.tokensRead != nil {
		return p.tokensRead, nil
	}
	there, err := p.get(ctx, secrets, tokensName)
	if err != nil {
		return nil, explained(err, "read the Secret "+tokensName)
	}
	all := map[string]token{}
	if there != nil {
		var secret corev1.Secret
		if err := kube.Into(there, &secret); err != nil {
			return nil, err
		}
		for key, text := range secret.Data {
			var one token
			if err := json.Unmarshal(text, &one); err != nil {
				return nil, fmt.Errorf("the token %s in the Secret %s: %w", key, tokensName, err)
			}
			all[key] = one
		}
	}
	p.tokensRead = all
	return all, nil
}

// writeTokens changes tokens in the Secret: nil removes one. The caller holds their lock.
func (p *Platform) writeTokens(ctx context.Context, changed map[string]*token) error {
	data := map[string]any{}
	for key, one := range changed {
		data[key] = nil
		if one != nil {
			text, err := json.Marshal(one)
			if err != nil {
				return err
			}
			data[key] = text // JSON has bytes in base64, as the data of a Secret
		}
	}
	patch, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return err
	}
	there, err := p.get(ctx, secrets, tokensName)
	if err == nil && there == nil {
		_, _, err = p.c.Apply(ctx, secrets, p.object("v1", "Secret", tokensName, map[string]any{}, nil, nil))
	}
	if err == nil {
		_, err = p.c.Resource(secrets, p.o.Namespace).Patch(ctx, tokensName, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
	}
	p.tokensRead = nil // they are read again: what of it was written is not known where it failed
	return explained(err, "write the Secret "+tokensName)
}

// CreateToken implements event.Platform.
func (p *Platform) CreateToken(ctx context.Context, broker, name, by string) (string, error) {
	broker = cmp.Or(broker, event.DefaultBroker)
	if err := event.CheckName(name); err != nil {
		return "", app.Errorf(app.CodeInvalidName, "choose another name", "a token cannot be called so: %v", err)
	}
	if err := p.installed(ctx); err != nil {
		return "", err
	}
	if _, err := p.ensureBroker(ctx, broker); err != nil {
		return "", err
	}
	if _, err := p.Door(ctx); err != nil {
		return "", err
	}
	defer p.locks.Lock("/tokens")()
	all, err := p.tokens(ctx)
	if err != nil {
		return "", err
	}
	of := 0
	for key := range all {
		if strings.HasPrefix(key, broker+".") {
			of++
		}
	}
	if _, there := all[tokenKey(broker, name)]; there {
		return "", app.Errorf(app.CodeExists, "choose another name, or revoke that one first: gitd events token revoke "+name, "the broker %q has a token %q already", broker, name)
	}
	if of >= maxTokens || len(all) >= maxAllTokens {
		return "", app.Errorf(app.CodeLimitExceeded, "revoke one that is not needed: gitd events token revoke NAME", "the broker %q has %d tokens, and all brokers %d: there may be %d and %d", broker, of, len(all), maxTokens, maxAllTokens)
	}
	text := ingress.NewToken()
	hash := ingress.Hash(text)
	return text, p.writeTokens(ctx, map[string]*token{tokenKey(broker, name): {Hash: hash[:], By: by, Created: time.Now().UTC().Truncate(time.Millisecond)}})
}

// Tokens implements event.Platform.
func (p *Platform) Tokens(ctx context.Context, broker string) ([]event.Token, error) {
	broker = cmp.Or(broker, event.DefaultBroker)
	defer p.locks.Lock("/tokens")()
	all, err := p.tokens(ctx)
	out := []event.Token{}
	for key, one := range all {
		if of, name, _ := strings.Cut(key, "."); of == broker {
			out = append(out, event.Token{Name: name, By: one.By, Created: one.Created, Used: one.Used})
		}
	}
	slices.SortFunc(out, func(a, b event.Token) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// RevokeToken implements event.Platform.
func (p *Platform) RevokeToken(ctx context.Context, broker, name string) error {
	broker = cmp.Or(broker, event.DefaultBroker)
	defer p.locks.Lock("/tokens")()
	all, err := p.tokens(ctx)
	if err != nil {
		return err
	}
	if _, there := all[tokenKey(broker, name)]; !there {
		return app.Errorf(app.CodeNotFound, "see the tokens: gitd events token list", "the broker %q has no token %q", broker, app.Clip(name, 60))
	}
	return p.writeTokens(ctx, map[string]*token{tokenKey(broker, name): nil})
}

// forgetTokens removes the tokens of a broker.
func (p *Platform) forgetTokens(ctx context.Context, broker string) error {
	defer p.locks.Lock("/tokens")()
	all, err := p.tokens(ctx)
	if err != nil {
		return err
	}
	gone := map[string]*token{}
	for key := range all {
		if strings.HasPrefix(key, broker+".") {
			gone[key] = nil
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return p.writeTokens(ctx, gone)
}

// holder returns the broker and the name of a token; "" for one that is not known.
func (p *Platform) holder(ctx context.Context, text string) (broker, name string, err error) {
	hash := ingress.Hash(text)
	defer p.locks.Lock("/tokens")()
	all, err := p.tokens(ctx)
	if err != nil {
		return "", "", err
	}
	for key, one := range all {
		if !slices.Equal(one.Hash, hash[:]) {
			continue
		}
		if time.Since(one.Used) > tokenUse {
			one.Used = time.Now().UTC().Truncate(time.Millisecond)
			if err := p.writeTokens(ctx, map[string]*token{key: &one}); err != nil { // a request is not refused for that
				p.o.Log("events: the use of a token is not noted: %v", err)
			}
		}
		broker, name, _ = strings.Cut(key, ".")
		return broker, name, nil
	}
	return "", "", nil
}

// Outside returns the handler that takes events over HTTP from those who have a token of the broker.
func (p *Platform) Outside() http.Handler {
	return &ingress.Handler{Send: p.Send, Log: p.o.Log, Sender: ingress.Bearer(p.holder, p.o.Log)}
}

package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// tolerance is how far the time of a signature may be from now: what was recorded is not taken later.
const tolerance = 300 * time.Second

// mostSums is how many signatures of one request are looked at: more than one is there while a secret is replaced.
const mostSums = 16

// maxProof bounds the header with the signature, in bytes.
const maxProof = 4 << 10

// proof is what a request shows to prove that it comes from who has the secret.
type proof struct {
	token  string    // the secret itself; "" where it is a signature
	before string    // what is signed before the body
	sums   [][]byte  // HMAC-SHA256, one of which has to fit
	at     time.Time // when it was signed; the zero time where that is not said
	base64 bool      // secrets may be in base64
}

// refusal says why a request is not taken, to who sent it.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// readProof reads what a request of a kind shows. Its error is a refusal.
func readProof(k Kind, h http.Header) (proof, error) {
	switch k {
	case GitHub:
		return gitHubProof(h)
	case GitLab:
		if len(h.Values("Webhook-Signature")) == 0 {
			token, err := one(h, "X-Gitlab-Token")
			return proof{token: token}, err
		}
		return standardProof(h)
	case Stripe:
		return stripeProof(h)
	case S3:
		return bearerProof(h)
	}
	return standardProof(h)
}

// one returns a header that has to be there once.
func one(h http.Header, name string) (string, error) {
	all := h.Values(name)
	switch {
	case len(all) == 0 || all[0] == "":
		return "", refuse("the header %s is missing: set the secret of this webhook where it is sent from", name)
	case len(all) > 1:
		return "", refuse("the header %s is there %d times", name, len(all))
	case len(all[0]) > maxProof:
		return "", refuse("the header %s is too long", name)
	}
	return all[0], nil
}

// gitHubProof reads "sha256=HEX".
func gitHubProof(h http.Header) (proof, error) {
	const name = "X-Hub-Signature-256"
	text, err := one(h, name)
	if err != nil {
		return proof{}, err
	}
	digits, ok := strings.CutPrefix(text, "sha256=")
	sum, err := hex.DecodeString(digits)
	if !ok || err != nil || len(sum) != sha256.Size {
		return proof{}, refuse("the header %s is not sha256= with %d hexadecimal digits", name, 2*sha256.Size)
	}
	return proof{sums: [][]byte{sum}}, nil
}

// stripeProof reads "t=SECONDS,v1=HEX,v1=HEX,v0=HEX". Schemes other than v1 are left alone.
func stripeProof(h http.Header) (p proof, err error) {
	const name = "Stripe-Signature"
	text, err := one(h, name)
	if err != nil {
		return p, err
	}
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch key {
		case "t":
			if p.before != "" {
				return p, refuse("the header %s has more than one t", name)
			}
			if p.at, err = seconds(value); err != nil {
				return p, refuse("the header %s: t: %v", name, err)
			}
			p.before = value + "."
		case "v1":
			if sum, err := hex.DecodeString(value); err == nil && len(sum) == sha256.Size && len(p.sums) < mostSums {
				p.sums = append(p.sums, sum)
			}
		}
	}
	switch {
	case p.before == "":
		return p, refuse("the header %s has no t", name)
	case len(p.sums) == 0:
		return p, refuse("the header %s has no v1 of %d hexadecimal digits", name, 2*sha256.Size)
	}
	return p, nil
}

// standardProof reads the three headers of Standard Webhooks. Those of Svix, which it comes from, are the same by another name.
func standardProof(h http.Header) (p proof, err error) {
	by := "Webhook-"
	if len(h.Values(by+"Signature")) == 0 && len(h.Values("Svix-Signature")) > 0 {
		by = "Svix-"
	}
	text, err := one(h, by+"Signature")
	if err != nil {
		return p, err
	}
	id, err := one(h, by+"Id")
	if err != nil {
		return p, err
	}
	at, err := one(h, by+"Timestamp")
	if err != nil {
		return p, err
	}
	if p.at, err = seconds(at); err != nil {
		return p, refuse("the header %sTimestamp: %v", by, err)
	}
	for part := range strings.FieldsSeq(text) {
		version, value, _ := strings.Cut(part, ",")
		sum, err := base64.StdEncoding.DecodeString(value)
		if version == "v1" && err == nil && len(sum) == sha256.Size && len(p.sums) < mostSums {
			p.sums = append(p.sums, sum)
		}
	}
	if len(p.sums) == 0 {
		return p, refuse("the header %sSignature has no signature v1, such as v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=", by)
	}
	p.before, p.base64 = id+"."+at+".", true
	return p, nil
}

// seconds reads a time in seconds since 1970.
func seconds(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<36 || s[0] == '+' {
		return time.Time{}, fmt.Errorf("it is not a time in seconds since 1970")
	}
	return time.Unix(n, 0), nil
}

// check returns a refusal where the proof was not made with one of the secrets, for this body, within the tolerance. How long it takes does not tell how far a proof fits.
func (p *proof) check(secrets [][]byte, body []byte, now time.Time) error {
	if p.token != "" {
		for _, s := range secrets {
			if equal([]byte(p.token), s) {
				return nil
			}
		}
		return refuse("the token is not the secret of this webhook")
	}
	fits := false
	for _, s := range secrets {
		for _, key := range p.keys(s) {
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(p.before))
			mac.Write(body)
			want := mac.Sum(nil)
			for _, sum := range p.sums {
				fits = hmac.Equal(sum, want) || fits
			}
		}
	}
	switch {
	case !fits:
		return refuse("the signature does not fit: it is not made with the secret of this webhook, or the request was changed on its way")
	case p.at.IsZero():
	case now.Sub(p.at) > tolerance:
		return refuse("the signature is older than %s: send the request again, with a new one", tolerance)
	case p.at.Sub(now) > tolerance:
		return refuse("the signature is of a time to come: set the clock of the sender")
	}
	return nil
}

// keys are the keys that a secret stands for.
func (p *proof) keys(secret []byte) [][]byte {
	if !p.base64 {
		return [][]byte{secret}
	}
	text, marked := strings.CutPrefix(string(secret), "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil || len(key) == 0:
		return [][]byte{secret}
	case marked:
		return [][]byte{key}
	}
	return [][]byte{secret, key} // without the mark, it is not known which is meant
}

// equal compares secrets of any length in a time that tells nothing of them.
func equal(a, b []byte) bool {
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

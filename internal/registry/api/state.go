package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"
)

// state is how far an upload is. The client carries it from request to request, signed, so that it can neither go on at a wrong place nor take over
// the upload of another repository.
type state struct {
	Name      string // the repository
	UUID      string // the upload
	Offset    int64
	StartedAt time.Time
}

var errBadState = errors.New("invalid secret")

func (a *API) sign(message []byte) []byte {
	mac := hmac.New(sha256.New, a.secret)
	mac.Write(message)
	return mac.Sum(nil)
}

func (a *API) pack(s state) (string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	return base64.URLEncoding.EncodeToString(append(a.sign(b), b...)), nil
}

func (a *API) unpack(token string) (s state, err error) {
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil {
		return s, err
	}
	if len(b) < sha256.Size || !hmac.Equal(a.sign(b[sha256.Size:]), b[:sha256.Size]) {
		return s, errBadState
	}
	return s, json.Unmarshal(b[sha256.Size:], &s)
}

// Package fetch downloads what languages publish on servers of their own: indexes, and archives that are checked against the digest that an index has.
// It goes by the proxies of a build's environment. An address may be a file: URL, for a mirror that is a folder.
package fetch

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// ErrMissing says that the server answers and does not have the file.
var ErrMissing = errors.New("the server does not have it")

// Unreachable says that a server did not give what it was asked for.
type Unreachable struct {
	Host   string // its name, or the address where that has none
	Reason string // one line
}

// Error implements error.
func (u *Unreachable) Error() string { return u.Host + " cannot be reached: " + u.Reason }

// Client downloads.
type Client struct {
	http  *http.Client
	pause time.Duration // before a second try; longer before the third
}

// tries are how often a server is asked that does not answer, or whose answer breaks off.
const tries = 3

// New returns a client for a build with this environment.
func New(env kit.Env) *Client {
	return &Client{http: &http.Client{Transport: Transport(env)}, pause: time.Second / 2}
}

// Transport goes by the proxy that the build's environment names.
func Transport(env kit.Env) *http.Transport {
	get := func(name string) string {
		if v := env[name]; v != "" {
			return v
		}
		return env[strings.ToUpper(name)]
	}
	proxy := (&httpproxy.Config{HTTPProxy: get("http_proxy"), HTTPSProxy: get("https_proxy"), NoProxy: get("no_proxy")}).ProxyFunc()
	t := &http.Transport{
		Proxy:                 func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
		DialContext:           (&net.Dialer{Timeout: 20 * time.Second}).DialContext,
		TLSHandshakeTimeout:   20 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
	}
	t.RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
	return t
}

// Text reads a file of at most most bytes.
func (c *Client) Text(address string, most int64) ([]byte, error) {
	var text []byte
	err := c.try(address, time.Minute, func(body io.Reader) (err error) {
		text, err = io.ReadAll(io.LimitReader(body, most+1))
		return err
	})
	if err == nil && int64(len(text)) > most {
		err = kit.Errorf("", "%s is longer than %d bytes", address, most)
	}
	return text, err
}

// File downloads a file of at most most bytes to the path to. sum is its digest in hex, SHA-256 or SHA-512 by its length. A file with another digest is a
// *kit.Error, and is not kept.
func (c *Client) File(address, sum, to string, most int64) error {
	h, err := digest(sum)
	if err != nil {
		return kit.Errorf("", "%s: %v", address, err)
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	var n int64
	err = c.try(address, 20*time.Minute, func(body io.Reader) error {
		h.Reset()
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := f.Truncate(0); err != nil {
			return err
		}
		var err error
		n, err = io.Copy(io.MultiWriter(f, h), io.LimitReader(body, most+1))
		return err
	})
	err = errors.Join(err, f.Close())
	switch got := hex.EncodeToString(h.Sum(nil)); {
	case err != nil:
	case n > most:
		err = kit.Errorf("", "%s is longer than %d bytes", address, most)
	case !strings.EqualFold(got, strings.TrimSpace(sum)):
		err = kit.Errorf("try again later, and see what stands between: a mirror may be damaged", "%s does not have the digest that its index says: %s…, not %s…", address, got[:12], strings.ToLower(sum)[:12])
	}
	if err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

// digest returns the hash of a digest's length.
func digest(sum string) (hash.Hash, error) {
	switch len(strings.TrimSpace(sum)) {
	case 2 * sha256.Size:
		return sha256.New(), nil
	case 2 * sha512.Size:
		return sha512.New(), nil
	}
	return nil, errors.New("the index has no digest of it that is known here")
}

// try opens an address and has its content read, several times where the server does not answer or breaks off.
func (c *Client) try(address string, limit time.Duration, read func(io.Reader) error) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "file" {
		return kit.Errorf("write it as https://HOST/PATH", "%q is not an address of the web", address)
	}
	for i := range tries {
		if i > 0 {
			time.Sleep(time.Duration(i) * c.pause)
		}
		var again bool
		if again, err = c.once(address, limit, read); !again {
			break
		}
	}
	if err == nil || errors.Is(err, ErrMissing) {
		return err
	}
	return &Unreachable{Host: hostOf(u), Reason: cause(err)}
}

// once tells also whether another try may help.
func (c *Client) once(address string, limit time.Duration, read func(io.Reader) error) (again bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusOK:
		err := read(resp.Body)
		return err != nil, err
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusGone:
		return false, fmt.Errorf("%s: %w", address, ErrMissing)
	}
	return resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests, fmt.Errorf("it answers %s", resp.Status)
}

func hostOf(u *url.URL) string {
	if u.Hostname() != "" {
		return u.Hostname()
	}
	return u.String()
}

// cause is the innermost error of a failed request, in a line.
func cause(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return "its name is not known"
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return kit.First(err.Error())
}

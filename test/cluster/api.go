package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// object is anything that the API server keeps.
type object map[string]any

// api speaks to the API server. What is needed of a client is little enough to do without client-go, which would take longer to
// compile than all else here.
type api struct {
	base   string
	client *http.Client

	mu    sync.Mutex
	kinds map[string]map[string]resource // by apiVersion, kind
}

type resource struct {
	Name       string
	Kind       string
	Namespaced bool
}

// newAPI connects to an address as the administrator.
func newAPI(dir Dir, address string) (*api, error) {
	certificate, err := tls.LoadX509KeyPair(dir.path("pki", "admin.crt"), dir.path("pki", "admin.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(dir.path("pki", "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &api{base: "https://" + address, kinds: map[string]map[string]resource{}, client: &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}},
		ForceAttemptHTTP2: true,
	}}}, nil
}

// apiError is a refusal of the API server.
type apiError struct {
	code    int
	message string
}

func (e *apiError) Error() string { return e.message }

func (a *api) do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		var status struct{ Message string }
		if json.Unmarshal(data, &status) != nil || status.Message == "" {
			status.Message = response.Status + " " + string(data)
		}
		return nil, &apiError{response.StatusCode, status.Message}
	}
	return data, nil
}

func (a *api) get(ctx context.Context, path string) (object, error) {
	data, err := a.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	var o object
	return o, json.Unmarshal(data, &o)
}

// list returns the items of a collection.
func (a *api) list(ctx context.Context, path string) ([]object, error) {
	data, err := a.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	var l struct{ Items []object }
	return l.Items, json.Unmarshal(data, &l)
}

// apply makes the object what is given (server-side apply).
func (a *api) apply(ctx context.Context, o object) error {
	path, err := a.path(ctx, o)
	if err != nil {
		return err
	}
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = a.do(ctx, http.MethodPatch, path+"?fieldManager=gitd-cluster&force=true", "application/apply-patch+yaml", data)
	if err != nil {
		return fmt.Errorf("%s %s: %w", o["kind"], o.name(), err)
	}
	return nil
}

// path is where the object is in the API.
func (a *api) path(ctx context.Context, o object) (string, error) {
	version, _ := o["apiVersion"].(string)
	kind, _ := o["kind"].(string)
	root := "/apis/" + version
	if !strings.Contains(version, "/") {
		root = "/api/" + version
	}
	a.mu.Lock()
	r, known := a.kinds[version][kind]
	a.mu.Unlock()
	if !known {
		data, err := a.do(ctx, http.MethodGet, root, "", nil)
		if err != nil {
			return "", fmt.Errorf("%s: %w", version, err)
		}
		var l struct{ Resources []resource }
		if err := json.Unmarshal(data, &l); err != nil {
			return "", err
		}
		kinds := map[string]resource{}
		for _, r := range l.Resources {
			if !strings.Contains(r.Name, "/") { // no subresource
				kinds[r.Kind] = r
			}
		}
		a.mu.Lock()
		a.kinds[version] = kinds
		a.mu.Unlock()
		if r, known = kinds[kind]; !known {
			return "", fmt.Errorf("the API server knows no %s in %s", kind, version)
		}
	}
	if r.Namespaced {
		root += "/namespaces/" + url.PathEscape(o.namespace())
	}
	return root + "/" + r.Name + "/" + url.PathEscape(o.name()), nil
}

// watch calls f with the object of each event until the server ends the stream.
func (a *api) watch(ctx context.Context, path string, f func(kind string, o object)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path+"?watch=true", nil)
	if err != nil {
		return err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	events := json.NewDecoder(response.Body)
	for {
		var e struct {
			Type   string
			Object object
		}
		if err := events.Decode(&e); err != nil {
			return err
		}
		f(e.Type, e.Object)
	}
}

// at walks down maps; it is nil where there is nothing.
func (o object) at(keys ...string) any {
	var v any = map[string]any(o)
	for _, k := range keys {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

func (o object) text(keys ...string) string {
	s, _ := o.at(keys...).(string)
	return s
}

func (o object) name() string { return o.text("metadata", "name") }

func (o object) namespace() string {
	if ns := o.text("metadata", "namespace"); ns != "" {
		return ns
	}
	return "default"
}

// condition reports whether a condition of the object's status is true, and what is said of it.
func (o object) condition(kind string) (message string, ok bool) {
	all, _ := o.at("status", "conditions").([]any)
	for _, c := range all {
		c, _ := c.(map[string]any)
		if c["type"] == kind {
			message, _ := c["message"].(string)
			return message, c["status"] == "True"
		}
	}
	return "nothing is known yet", false
}

// poll calls f until it succeeds. When the context ends it returns f's last error.
func poll(ctx context.Context, interval time.Duration, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return err
		}
	}
}

// Package api answers the pull and push requests of the OCI distribution specification, over the storage of distribution/v3. It is what that
// project's own handlers do, without what we have no use for: deleting, caching, events, redis, and exporters of traces, which are a sixth of
// gitd's size. Rights are not looked at here.
package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/reference"
	"github.com/gitd-io/gitd/internal/pattern"
	"github.com/sirupsen/logrus"
)

// API serves the repositories of a directory.
type API struct {
	images distribution.Namespace
	secret []byte // signs the state of uploads
}

// New serves dir, which has the layout of distribution's filesystem driver. It logs to nowhere: what fails is in the answer.
func New(dir string) (*API, error) {
	silence()
	images, err := storage.NewRegistry(context.Background(), directory(dir),
		storage.ManifestURLsAllowRegexp(regexp.MustCompile("^$")), // layers that lie elsewhere
		storage.EnableValidateImageIndexImagesExist)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	a := &API{images: images, secret: make([]byte, 32)}
	_, err = rand.Read(a.secret)
	return a, err
}

// silence turns off the logger that distribution takes where it is given none; it leaves no other way. It is logrus's own, which nothing else of ours
// writes to.
var silence = sync.OnceFunc(func() { logrus.SetOutput(io.Discard) })

// request is one of a repository. Its functions return an errcode.Errors, an errcode.ErrorCode or an errcode.Error for the answer.
type request struct {
	*API
	ctx  context.Context
	repo distribution.Repository
	name string
}

// handler answers one kind of request; last is the last element of the path.
type handler func(r *request, w http.ResponseWriter, q *http.Request, last string) error

// routes are what may follow "/v2/NAME/".
var routes = []struct {
	path    *pattern.Pattern
	methods map[string]handler
}{
	{pattern.New(`^/v2/(.+)/manifests/([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+)$`), map[string]handler{
		http.MethodGet: (*request).getManifest, http.MethodHead: (*request).getManifest, http.MethodPut: (*request).putManifest,
	}},
	{pattern.New(`^/v2/(.+)/tags/(list)$`), map[string]handler{http.MethodGet: (*request).listTags}},
	{pattern.New(`^/v2/(.+)/blobs/uploads/()$`), map[string]handler{http.MethodPost: (*request).startUpload}},
	{pattern.New(`^/v2/(.+)/blobs/uploads/([a-zA-Z0-9_.=-]+)$`), map[string]handler{
		http.MethodGet: (*request).uploadStatus, http.MethodHead: (*request).uploadStatus,
		http.MethodPatch: (*request).patchUpload, http.MethodPut: (*request).finishUpload, http.MethodDelete: (*request).cancelUpload,
	}},
	{pattern.New(`^/v2/(.+)/blobs/([a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+)$`), map[string]handler{
		http.MethodGet: (*request).getBlob, http.MethodHead: (*request).getBlob,
	}},
}

// ServeHTTP answers a request. What has no route is not found, in plain text.
func (a *API) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	if q.URL.Path == "/v2/" {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(w, "{}")
		return
	}
	for _, route := range routes {
		m := route.path.FindStringSubmatch(q.URL.Path)
		if m == nil {
			continue
		}
		handle := route.methods[q.Method]
		if handle == nil {
			w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(route.methods)), ", "))
			http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
			return
		}
		if err := a.answer(w, q, m[1], m[2], handle); err != nil {
			_ = errcode.ServeJSON(w, err) // the client may be gone
		}
		return
	}
	http.NotFound(w, q)
}

func (a *API) answer(w http.ResponseWriter, q *http.Request, name, last string, handle handler) error {
	named, err := reference.WithName(name)
	if err != nil {
		return errcode.Errors{distribution.ErrRepositoryNameInvalid{Name: name, Reason: err}}
	}
	repo, err := a.images.Repository(q.Context(), named)
	if err != nil {
		return unknown(err)
	}
	return handle(&request{API: a, ctx: q.Context(), repo: repo, name: name}, w, q, last)
}

// unknown is what an error becomes that nothing better is known of.
func unknown(err error) error {
	switch err {
	case distribution.ErrUnsupported:
		return errcode.ErrorCodeUnsupported
	case distribution.ErrAccessDenied:
		return errcode.ErrorCodeDenied
	}
	switch err := err.(type) {
	case errcode.Errors, errcode.Error:
		return err
	}
	return errcode.ErrorCodeUnknown.WithDetail(err)
}

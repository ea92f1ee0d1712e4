package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
)

// registryPart is a plain-HTTP image registry. Its port is the same in the node and on the host: 127.0.0.1:PORT names it for both.
func registryPart(s Settings) part {
	address := fmt.Sprintf("0.0.0.0:%d", s.RegistryPort)
	return part{
		name:    "registry",
		command: []string{inCluster + "/cluster", "registry", address, inCluster + "/registry"},
		healthy: httpHealth(fmt.Sprintf("http://127.0.0.1:%d/v2/", s.RegistryPort)),
	}
}

// serveRegistry serves images from a directory.
func serveRegistry(address, dir string) error {
	handler, err := newRegistry(dir)
	if err != nil {
		return err
	}
	return http.ListenAndServe(address, handler)
}

// newRegistry is go-containerregistry's, which keeps blobs on disk but manifests in memory only: here they are written down as well,
// and put again after a restart.
func newRegistry(dir string) (http.Handler, error) {
	blobs, manifests := filepath.Join(dir, "blobs"), filepath.Join(dir, "manifests")
	for _, d := range []string{blobs, manifests} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	inner := registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(blobs)), registry.Logger(log.New(io.Discard, "", 0)))
	if err := replay(inner, manifests); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file := filepath.Join(manifests, url.PathEscape(r.URL.Path))
		isManifest := strings.Contains(r.URL.Path, "/manifests/")
		switch {
		case isManifest && r.Method == http.MethodPut:
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20)) // as much as registries take
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			answer := &recorder{ResponseWriter: w}
			inner.ServeHTTP(answer, r)
			if answer.code == http.StatusCreated {
				data, _ := json.Marshal(stored{r.URL.Path, r.Header.Get("Content-Type"), body})
				if err := writeFile(file, string(data), 0o644); err != nil {
					log.Print(err)
				}
			}
		case isManifest && r.Method == http.MethodDelete:
			_ = os.Remove(file)
			inner.ServeHTTP(w, r)
		case r.Method == http.MethodPatch || r.Method == http.MethodPut:
			free, err := spool(r, dir)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			defer free()
			inner.ServeHTTP(w, r)
		default:
			inner.ServeHTTP(w, r)
		}
	}), nil
}

// spool reads the body of an upload into a file first: go-containerregistry's registry holds its one lock while it reads a body, so that each upload would wait for the slowest
// client that sends one.
func spool(r *http.Request, dir string) (free func(), err error) {
	f, err := os.CreateTemp(dir, "upload-")
	if err != nil {
		return nil, err
	}
	free = func() { _ = f.Close() }
	if err := os.Remove(f.Name()); err != nil {
		free()
		return nil, err
	}
	n, err := io.Copy(f, r.Body)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		free()
		return nil, err
	}
	r.Body, r.ContentLength = f, n
	return free, nil
}

// stored is a manifest as it was put.
type stored struct {
	Path, ContentType string
	Body              []byte
}

// replay puts the manifests in the order in which they were: an index comes after what it lists.
func replay(inner http.Handler, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	written := func(e os.DirEntry) int64 {
		info, err := e.Info()
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortStableFunc(entries, func(a, b os.DirEntry) int { return int(written(a) - written(b)) })
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		var s stored
		if err := json.Unmarshal(data, &s); err != nil {
			continue // the registry was killed while it wrote
		}
		r := httptest.NewRequest(http.MethodPut, s.Path, bytes.NewReader(s.Body))
		r.Header.Set("Content-Type", s.ContentType)
		inner.ServeHTTP(httptest.NewRecorder(), r)
	}
	return nil
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	code int
}

func (s *recorder) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

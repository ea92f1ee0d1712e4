package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// What was pushed is there after a restart, also an index, which refers to other manifests.
func TestRegistryRestart(t *testing.T) {
	dir := t.TempDir()
	serve := func() (*httptest.Server, string) {
		handler, err := newRegistry(dir)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(handler)
		return server, strings.TrimPrefix(server.URL, "http://")
	}
	server, host := serve()
	image, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	index, err := random.Index(1000, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	parse := func(host, ref string) name.Reference {
		r, err := name.ParseReference(host + ref)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if err := remote.Write(parse(host, "/team/app:v1"), image); err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(parse(host, "/team/all:v1"), index); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(parse(host, "/team/gone:v1"), image); err != nil {
		t.Fatal(err)
	}
	if err := remote.Delete(parse(host, "/team/gone:v1")); err != nil {
		t.Fatal(err)
	}
	server.Close()

	server, host = serve()
	defer server.Close()
	want, _ := image.Digest()
	if got, err := remote.Get(parse(host, "/team/app:v1")); err != nil || got.Digest != want {
		t.Errorf("the image: %v, %v", got, err)
	}
	wantIndex, _ := index.Digest()
	if got, err := remote.Get(parse(host, "/team/all:v1")); err != nil || got.Digest != wantIndex {
		t.Errorf("the index: %v, %v", got, err)
	}
	if _, err := remote.Get(parse(host, "/team/gone:v1")); err == nil {
		t.Error("the deleted image is back")
	}
}

// A client that sends slowly keeps no other one from pushing.
func TestRegistrySlowClient(t *testing.T) {
	handler, err := newRegistry(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	started, err := http.Post(server.URL+"/v2/team/slow/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	started.Body.Close()
	body, slow := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		q, err := http.NewRequest(http.MethodPatch, server.URL+started.Header.Get("Location"), body)
		if err == nil {
			var a *http.Response
			if a, err = http.DefaultClient.Do(q); err == nil {
				a.Body.Close()
			}
		}
		ended <- err
	}()
	if _, err := slow.Write(make([]byte, 1<<16)); err != nil {
		t.Fatal(err)
	}
	image, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/team/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := remote.Write(ref, image, remote.WithContext(ctx)); err != nil {
		t.Errorf("while another client sends: %v", err)
	}
	slow.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

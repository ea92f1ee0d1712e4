package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// startUpload answers POST: it begins an upload, or mounts a blob of another repository. A mount that cannot be done becomes an upload.
func (r *request) startUpload(w http.ResponseWriter, q *http.Request, _ string) error {
	var options []distribution.BlobCreateOption
	if from, mount := q.URL.Query().Get("from"), q.URL.Query().Get("mount"); from != "" && mount != "" {
		if o := mountOption(from, mount); o != nil {
			options = append(options, o)
		}
	}
	upload, err := r.repo.Blobs(r.ctx).Create(r.ctx, options...)
	var mounted distribution.ErrBlobMounted
	switch {
	case errors.As(err, &mounted):
		return r.created(w, mounted.Descriptor.Digest)
	case errors.Is(err, distribution.ErrUnsupported):
		return errcode.ErrorCodeUnsupported
	case err != nil:
		return errcode.ErrorCodeUnknown.WithDetail(err)
	}
	if err := r.accepted(w, upload); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func mountOption(from, mount string) distribution.BlobCreateOption {
	d, err := digest.Parse(mount)
	if err != nil {
		return nil
	}
	named, err := reference.WithName(from)
	if err != nil {
		return nil
	}
	canonical, err := reference.WithDigest(named, d)
	if err != nil {
		return nil
	}
	return storage.WithMountFrom(canonical)
}

// uploadStatus answers GET and HEAD: how much is there.
func (r *request) uploadStatus(w http.ResponseWriter, _ *http.Request, id string) error {
	upload, err := r.repo.Blobs(r.ctx).Resume(r.ctx, id)
	if err != nil {
		return uploadError(err)
	}
	if err := r.accepted(w, upload); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// patchUpload takes a piece.
func (r *request) patchUpload(w http.ResponseWriter, q *http.Request, id string) error {
	upload, err := r.resume(q, id)
	if err != nil {
		return err
	}
	defer upload.Close()
	if t := q.Header.Get("Content-Type"); t != "" && t != "application/octet-stream" {
		return errcode.ErrorCodeUnknown.WithDetail(errors.New("bad Content-Type"))
	}
	if err := fits(q, upload.Size()); err != nil {
		return err
	}
	if _, err := io.Copy(upload, q.Body); err != nil {
		return errcode.ErrorCodeUnknown.WithDetail(err.Error())
	}
	if err := r.accepted(w, upload); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// finishUpload takes the last piece, or the only one, and makes a blob of all.
func (r *request) finishUpload(w http.ResponseWriter, q *http.Request, id string) error {
	upload, err := r.resume(q, id)
	if err != nil {
		return err
	}
	defer upload.Close()
	if err := fits(q, upload.Size()); err != nil {
		return err
	}
	text := q.URL.Query().Get("digest")
	if text == "" { // it may be tried again
		return errcode.ErrorCodeDigestInvalid.WithDetail("digest missing")
	}
	d, err := digest.Parse(text)
	if err != nil {
		return errcode.ErrorCodeDigestInvalid.WithDetail("digest parsing failed")
	}
	if _, err := io.Copy(upload, q.Body); err != nil {
		return errcode.ErrorCodeUnknown.WithDetail(err.Error())
	}
	desc, err := upload.Commit(r.ctx, v1.Descriptor{Digest: d})
	if err != nil {
		_ = upload.Cancel(r.ctx) // what is left of it is collected
		return commitError(err)
	}
	return r.created(w, desc.Digest)
}

func commitError(err error) error {
	var invalid distribution.ErrBlobInvalidDigest
	switch {
	case errors.As(err, &invalid):
		return errcode.ErrorCodeDigestInvalid.WithDetail(invalid)
	case errors.Is(err, distribution.ErrBlobInvalidLength), errors.Is(err, distribution.ErrBlobDigestUnsupported):
		return errcode.ErrorCodeBlobUploadInvalid.WithDetail(err)
	}
	return unknown(err)
}

// cancelUpload answers DELETE.
func (r *request) cancelUpload(w http.ResponseWriter, q *http.Request, id string) error {
	upload, err := r.resume(q, id)
	if err != nil {
		return err
	}
	defer upload.Close()
	w.Header().Set("Docker-Upload-UUID", id)
	if err := upload.Cancel(r.ctx); err != nil {
		return errcode.ErrorCodeUnknown.WithDetail(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// resume finds the upload that a request goes on with, by the state that the answer before gave the client.
func (r *request) resume(q *http.Request, id string) (distribution.BlobWriter, error) {
	s, err := r.unpack(q.URL.Query().Get("_state"))
	if err != nil {
		return nil, errcode.ErrorCodeBlobUploadInvalid.WithDetail(err)
	}
	if s.Name != r.name || s.UUID != id {
		return nil, errcode.ErrorCodeBlobUploadInvalid
	}
	upload, err := r.repo.Blobs(r.ctx).Resume(r.ctx, id)
	if err != nil {
		return nil, uploadError(err)
	}
	if upload.Size() != s.Offset {
		_ = upload.Close()
		return nil, errcode.ErrorCodeRangeInvalid
	}
	return upload, nil
}

func uploadError(err error) error {
	if errors.Is(err, distribution.ErrBlobUploadUnknown) {
		return errcode.ErrorCodeBlobUploadUnknown.WithDetail(err)
	}
	return errcode.ErrorCodeUnknown.WithDetail(err)
}

// fits checks the range of a piece, where the client says one, against what is there.
func fits(q *http.Request, have int64) error {
	said, length := q.Header.Get("Content-Range"), q.Header.Get("Content-Length")
	if said == "" || length == "" {
		return nil
	}
	first, last, ok := strings.Cut(said, "-")
	if !ok {
		return errcode.ErrorCodeUnknown.WithDetail("invalid content range format, " + said)
	}
	start, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return errcode.ErrorCodeUnknown.WithDetail(err.Error())
	}
	end, err := strconv.ParseInt(last, 10, 64)
	if err != nil {
		return errcode.ErrorCodeUnknown.WithDetail(err.Error())
	}
	if start > end || start != have {
		return errcode.ErrorCodeRangeInvalid
	}
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil {
		return errcode.ErrorCodeUnknown.WithDetail(err.Error())
	}
	if n != end-start+1 {
		return errcode.ErrorCodeSizeInvalid
	}
	return nil
}

// accepted writes the headers that say where an upload goes on, and closes it.
func (r *request) accepted(w http.ResponseWriter, upload distribution.BlobWriter) error {
	_ = upload.Close()
	size := upload.Size()
	token, err := r.pack(state{Name: r.name, UUID: upload.ID(), Offset: size, StartedAt: upload.StartedAt()})
	if err != nil {
		return errcode.ErrorCodeUnknown.WithDetail(err)
	}
	w.Header().Set("Docker-Upload-UUID", upload.ID())
	w.Header().Set("Location", "/v2/"+r.name+"/blobs/uploads/"+upload.ID()+"?"+url.Values{"_state": {token}}.Encode())
	w.Header().Set("Content-Length", "0")
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(size-1, 0)))
	return nil
}

func (r *request) created(w http.ResponseWriter, d digest.Digest) error {
	w.Header().Set("Location", "/v2/"+r.name+"/blobs/"+d.String())
	w.Header().Set("Content-Length", "0")
	w.Header().Set("Docker-Content-Digest", d.String())
	w.WriteHeader(http.StatusCreated)
	return nil
}

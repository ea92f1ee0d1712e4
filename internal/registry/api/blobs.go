package api

import (
	"errors"
	"net/http"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
)

// getBlob answers GET and HEAD of a blob, whole or in ranges.
func (r *request) getBlob(w http.ResponseWriter, q *http.Request, last string) error {
	d, err := digest.Parse(last)
	if err != nil {
		return errcode.ErrorCodeDigestInvalid.WithDetail(err)
	}
	blobs := r.repo.Blobs(r.ctx)
	desc, err := blobs.Stat(r.ctx, d)
	if errors.Is(err, distribution.ErrBlobUnknown) {
		return errcode.ErrorCodeBlobUnknown.WithDetail(d)
	}
	if err != nil {
		return unknown(err)
	}
	if err := blobs.ServeBlob(r.ctx, w, q, desc.Digest); err != nil {
		return unknown(err)
	}
	return nil
}

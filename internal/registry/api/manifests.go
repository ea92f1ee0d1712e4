package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/manifest/manifestlist"
	"github.com/distribution/distribution/v3/manifest/ocischema"
	"github.com/distribution/distribution/v3/manifest/schema2"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifest is the size in bytes of the largest manifest that is taken.
const maxManifest = 4 << 20

// manifests returns those of the repository, and by what one of them is asked for: a tag or a digest, the other is "".
func (r *request) manifests(reference string) (all distribution.ManifestService, tag string, d digest.Digest, err error) {
	if d, err = digest.Parse(reference); err != nil {
		if strings.ContainsRune(reference, ':') {
			return nil, "", "", errcode.ErrorCodeDigestInvalid.WithDetail(err)
		}
		tag, d = reference, ""
	}
	if all, err = r.repo.Manifests(r.ctx); err != nil {
		return nil, "", "", errcode.Errors{err}
	}
	return all, tag, d, nil
}

// getManifest answers GET and HEAD.
func (r *request) getManifest(w http.ResponseWriter, q *http.Request, reference string) error {
	manifests, tag, d, err := r.manifests(reference)
	if err != nil {
		return err
	}
	if tag != "" {
		desc, err := r.repo.Tags(r.ctx).Get(r.ctx, tag)
		if err != nil {
			return manifestError(err)
		}
		d = desc.Digest
	}
	for _, have := range q.Header["If-None-Match"] {
		if strings.Trim(have, `"`) == d.String() {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	manifest, err := manifests.Get(r.ctx, d)
	if err != nil {
		return manifestError(err)
	}
	if manifest, d, err = r.choose(manifests, manifest, d, tag != "", takes(q)); err != nil {
		return err
	}
	kind, content, err := manifest.Payload()
	if err != nil {
		return nil
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Etag", `"`+d.String()+`"`)
	if q.Method != http.MethodHead {
		_, _ = w.Write(content)
	}
	return nil
}

// takes returns the media types that a client takes. Their order and weights do not matter.
func takes(q *http.Request) (kinds []string) {
	for _, header := range q.Header["Accept"] {
		for part := range strings.SplitSeq(header, ",") {
			if kind, _, err := mime.ParseMediaType(part); err == nil {
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds
}

// choose refuses a manifest of a kind that the client does not take. Of a list of Docker's that was asked for by its tag, such a client gets the image
// for linux/amd64.
func (r *request) choose(manifests distribution.ManifestService, m distribution.Manifest, d digest.Digest, byTag bool, takes []string) (distribution.Manifest, digest.Digest, error) {
	list, _ := m.(*manifestlist.DeserializedManifestList)
	_, isImage := m.(*ocischema.DeserializedManifest)
	switch {
	case isImage && !slices.Contains(takes, v1.MediaTypeImageManifest):
		return nil, "", errcode.ErrorCodeManifestUnknown.WithMessage("OCI manifest found, but accept header does not support OCI manifests")
	case list != nil && list.MediaType == v1.MediaTypeImageIndex && !slices.Contains(takes, v1.MediaTypeImageIndex):
		return nil, "", errcode.ErrorCodeManifestUnknown.WithMessage("OCI index found, but accept header does not support OCI indexes")
	case list == nil || !byTag || list.MediaType != manifestlist.MediaTypeManifestList || slices.Contains(takes, manifestlist.MediaTypeManifestList):
		return m, d, nil
	}
	i := slices.IndexFunc(list.Manifests, func(e manifestlist.ManifestDescriptor) bool {
		return e.Platform.Architecture == "amd64" && e.Platform.OS == "linux"
	})
	if i < 0 {
		return nil, "", errcode.ErrorCodeManifestUnknown
	}
	d = list.Manifests[i].Digest
	m, err := manifests.Get(r.ctx, d)
	if err != nil {
		return nil, "", manifestError(err)
	}
	if _, ok := m.(*schema2.DeserializedManifest); ok && !slices.Contains(takes, schema2.MediaTypeManifest) {
		return nil, "", errcode.ErrorCodeManifestInvalid.WithMessage("Schema 2 manifest not supported by client")
	}
	return m, d, nil
}

func manifestError(err error) error {
	var (
		noTag      distribution.ErrTagUnknown
		noRevision distribution.ErrManifestUnknownRevision
	)
	switch {
	case errors.As(err, &noTag):
		return errcode.ErrorCodeManifestUnknown.WithDetail(noTag)
	case errors.As(err, &noRevision):
		return errcode.ErrorCodeManifestUnknown.WithDetail(noRevision)
	}
	return unknown(err)
}

// putManifest takes a manifest whose blobs are there, by digest or under a tag.
func (r *request) putManifest(w http.ResponseWriter, q *http.Request, reference string) error {
	manifests, tag, d, err := r.manifests(reference)
	if err != nil {
		return err
	}
	content, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxManifest))
	if err != nil {
		return errcode.ErrorCodeManifestInvalid.WithDetail(err.Error())
	}
	manifest, desc, err := distribution.UnmarshalManifest(q.Header.Get("Content-Type"), content)
	if err != nil {
		return errcode.ErrorCodeManifestInvalid.WithDetail(err)
	}
	if tag == "" && desc.Digest != d {
		return errcode.ErrorCodeDigestInvalid
	}
	if _, err := manifests.Put(r.ctx, manifest); err != nil {
		return putError(err)
	}
	if tag != "" {
		if err := r.repo.Tags(r.ctx).Tag(r.ctx, tag, desc); err != nil {
			return errcode.ErrorCodeUnknown.WithDetail(err)
		}
	}
	w.Header().Set("Location", "/v2/"+r.name+"/manifests/"+desc.Digest.String())
	w.Header().Set("Docker-Content-Digest", desc.Digest.String())
	w.WriteHeader(http.StatusCreated)
	return nil
}

// putError says what is wrong with a manifest: all of it.
func putError(err error) error {
	var wrong distribution.ErrManifestVerification
	if !errors.As(err, &wrong) {
		return unknown(err)
	}
	var all errcode.Errors
	for _, err := range wrong {
		switch e := err.(type) {
		case distribution.ErrManifestBlobUnknown:
			all = append(all, errcode.ErrorCodeManifestBlobUnknown.WithDetail(e.Digest))
		case distribution.ErrManifestNameInvalid:
			all = append(all, errcode.ErrorCodeNameInvalid.WithDetail(wrong))
		case distribution.ErrManifestUnverified:
			all = append(all, errcode.ErrorCodeManifestUnverified)
		default:
			if errors.Is(err, digest.ErrDigestInvalidFormat) {
				all = append(all, errcode.ErrorCodeDigestInvalid)
			} else {
				all = append(all, errcode.ErrorCodeUnknown, err)
			}
		}
	}
	return all
}

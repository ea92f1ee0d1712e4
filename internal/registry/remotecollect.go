package registry

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Only what gitd is known to have put there is ever deleted: others may keep images under the same prefix. So that is written down.

func loadPushed(file string) map[string]map[string]time.Time {
	pushed := map[string]map[string]time.Time{}
	if b, err := os.ReadFile(file); err == nil {
		_ = json.Unmarshal(b, &pushed) // a file that cannot be read costs space in the registry, no more
	}
	return pushed
}

// Pushed implements Images.
func (r *Remote) Pushed(repository, digest string) error {
	if _, err := r.repository(repository); err != nil {
		return err
	}
	if _, err := hexOf(digest); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(repository, digest)
	return r.save()
}

func (r *Remote) note(repository, digest string) {
	if r.pushed[repository] == nil {
		r.pushed[repository] = map[string]time.Time{}
	}
	r.pushed[repository][digest] = r.now()
}

// save is called with the lock held.
func (r *Remote) save() error {
	if r.o.State == "" {
		return nil
	}
	b, err := json.Marshal(r.pushed)
	if err != nil {
		return err
	}
	return place(r.o.State, func(f *os.File) error {
		_, err := f.Write(b)
		return err
	}, 0o600)
}

// Collect implements Images. A registry that refuses to delete is left alone, and named in the log once. How much it frees is the registry's
// own affair: the bytes are always 0.
func (r *Remote) Collect(ctx context.Context, needed Needed, since time.Time) (int64, error) {
	r.mu.Lock()
	repositories := slices.Sorted(maps.Keys(r.pushed))
	r.mu.Unlock()
	var gone [][2]string
	for _, repository := range repositories {
		digests, err := needed(repository)
		if err != nil {
			return 0, err
		}
		gone = append(gone, r.unneeded(repository, digests, since)...)
	}
	return 0, r.delete(ctx, gone)
}

// CollectRepository implements Images.
func (r *Remote) CollectRepository(ctx context.Context, repository string, digests []string, since time.Time) error {
	gone := r.unneeded(repository, digests, since)
	if len(gone) == 0 {
		return nil
	}
	return r.delete(ctx, gone)
}

// unneeded returns the unneeded images of a repository. It records the needed ones: also what was pushed unrecorded is removed
// when its time comes.
func (r *Remote) unneeded(repository string, digests []string, since time.Time) (gone [][2]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for digest, when := range r.pushed[repository] {
		if !slices.Contains(digests, digest) && r.now().Sub(when) >= grace && (since.IsZero() || when.Before(since)) {
			gone = append(gone, [2]string{repository, digest})
		}
	}
	for _, digest := range digests {
		if _, known := r.pushed[repository][digest]; !known && digestForm.MatchString(digest) && repositoryForm.MatchString(repository) {
			r.note(repository, digest)
		}
	}
	return gone
}

// DeleteRepository implements Images. Where the registry refuses to delete, the images are forgotten, and a build cache is written over with an
// empty one.
func (r *Remote) DeleteRepository(repository string) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	isCache := strings.HasSuffix(repository, CacheSuffix)
	if isCache { // Pods write it, under a name that is ours alone
		tags, err := r.tags(repository)
		if err != nil {
			return err
		}
		r.mu.Lock()
		for _, digest := range tags {
			r.note(repository, digest)
		}
		r.mu.Unlock()
	}
	r.mu.Lock()
	var gone [][2]string
	for digest := range r.pushed[repository] {
		gone = append(gone, [2]string{repository, digest})
	}
	r.mu.Unlock()
	if err := r.delete(ctx, gone); err != nil {
		return err
	}
	r.mu.Lock()
	left := len(r.pushed[repository])
	delete(r.pushed, repository)
	err := r.save()
	r.mu.Unlock()
	if err == nil && isCache && left > 0 {
		repo, e := r.repository(repository)
		if e != nil {
			return e
		}
		if err = remote.Write(repo.Tag("latest"), empty.Image, r.options(ctx)...); err != nil {
			return r.words(ctx, repo.String(), err)
		}
	}
	return err
}

// deleteTime bounds one deletion: builds may be waiting for the end of all.
const deleteTime = 30 * time.Second

// delete deletes manifests, and with each the tags that stand for it. It stops at the first that takes too long: the rest would as well.
func (r *Remote) delete(ctx context.Context, gone [][2]string) error {
	var failed []error
	for _, g := range gone {
		r.mu.Lock()
		keeps := r.keeps
		r.mu.Unlock()
		if keeps {
			break
		}
		repository, digest := g[0], g[1]
		repo, err := r.repository(repository)
		if err != nil {
			continue
		}
		one, cancel := context.WithTimeout(ctx, r.deletes)
		err = remote.Delete(repo.Digest(digest), r.options(one)...)
		late := one.Err() != nil
		cancel()
		if refused(err) {
			r.mu.Lock()
			r.keeps = true
			r.mu.Unlock()
			r.log("registry: %s refuses to delete images: those that no release needs stay there until they are removed by other means", r.o.Prefix)
			break
		}
		if err != nil && !notFound(err) {
			failed = append(failed, r.words(ctx, repo.Digest(digest).String(), err))
			if late {
				break
			}
			continue
		}
		r.mu.Lock()
		if delete(r.pushed[repository], digest); len(r.pushed[repository]) == 0 {
			delete(r.pushed, repository)
		}
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(append(failed, r.save())...)
}

// refused says whether a registry does not want to delete, as many do: by configuration, or because the credentials may not.
func refused(err error) bool {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.StatusCode {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusForbidden, http.StatusUnauthorized:
		return true
	}
	return slices.ContainsFunc(answer.Errors, func(d transport.Diagnostic) bool {
		return d.Code == transport.UnsupportedErrorCode || strings.Contains(strings.ToLower(d.Message), "unsupported")
	})
}

func (r *Remote) log(format string, args ...any) {
	if r.o.Log != nil {
		r.o.Log(format, args...)
	}
}

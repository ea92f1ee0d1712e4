package registry

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/google/go-containerregistry/pkg/authn"
)

// There are two kinds of credentials, and no list of them: a password is the HMAC of its user's name.
//
//	"hello"              may pull from and push to the repository hello, for as long as the process lives
//	"hello,hello/cache"  likewise for both
//	"_pull"              may pull our own repositories, for as long as the directory is there
//	"_pull,hello"        likewise, and the repository hello
//	"_pull,*"            likewise, and every repository
//
// All of them may read our own repositories.

// puller is the user that nodes pull as. No repository is called that.
const puller = "_pull"

// every stands for all repositories behind puller.
const every = "*"

// pullSecretFile is in the registry's directory.
const pullSecretFile = "pull.key"

func (r *Registry) loadPullSecret() error {
	file := filepath.Join(r.dir, pullSecretFile)
	b, err := os.ReadFile(file)
	if err == nil && len(b) == len(r.pull) {
		copy(r.pull[:], b)
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return app.Errorf(app.CodeUnavailable, "check who owns the data directory", "cannot read the registry's key %s: %w", file, err)
	}
	if _, err := rand.Read(r.pull[:]); err != nil {
		return err
	}
	return place(file, func(f *os.File) error {
		_, err := f.Write(r.pull[:])
		return err
	}, 0o600)
}

// Credentials may pull from and push to these repositories, and pull our own images. They live as long as the process.
func (r *Registry) Credentials(repositories ...string) authn.Authenticator {
	user := strings.Join(repositories, ",")
	return authn.FromConfig(authn.AuthConfig{Username: user, Password: r.password(user)})
}

// PullCredentials may pull from the repository and from our own ones: "*" is every repository, "" none but our own. They live as
// long as the directory.
func (r *Registry) PullCredentials(repository string) authn.Authenticator {
	user := puller
	if repository != "" {
		user += "," + repository
	}
	return authn.FromConfig(authn.AuthConfig{Username: user, Password: r.password(user)})
}

// pulls says whether a user is one that only pulls, and from which repository besides our own.
func pulls(user string) (repository string, ok bool) {
	if user == puller {
		return "", true
	}
	return strings.CutPrefix(user, puller+",")
}

func (r *Registry) password(user string) string {
	secret := r.secret[:]
	if _, ok := pulls(user); ok {
		secret = r.pull[:]
	}
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(user))
	return hex.EncodeToString(m.Sum(nil))
}

// maxUser bounds the name that a password is computed for, in bytes.
const maxUser = 1024

// authorise lets through what the credentials of the request allow. There is no anonymous access and no catalogue.
func (r *Registry) authorise(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		user, password, ok := q.BasicAuth()
		if !ok || len(user) > maxUser || !hmac.Equal([]byte(password), []byte(r.password(user))) {
			w.Header().Set("WWW-Authenticate", `Basic realm="gitd"`)
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
			return
		}
		switch judge(user, q) {
		case fine:
			next.ServeHTTP(w, q)
		case unknown:
			refuse(w, http.StatusNotFound, unknownCode(q.URL.Path), "this registry has nothing of that name")
		case noMethod:
			refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry does not do that")
		case badDigest:
			refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "this registry takes sha256 digests alone")
		default:
			refuse(w, http.StatusForbidden, "DENIED", "these credentials do not reach that far")
		}
	})
}

// guard keeps Collect off what a request relies on. It holds Collect up for no longer than a request takes on this machine, however slow its
// client is: what takes long relies on things being young instead.
func (r *Registry) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/") {
			body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxManifest))
			if err != nil {
				refuse(w, http.StatusRequestEntityTooLarge, "SIZE_INVALID", "the manifest is too large, or ended early")
				return
			}
			q.Body, q.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.collecting.RLock()
			r.refreshAll(body)
		} else {
			r.collecting.RLock()
		}
		r.refresh(q.URL.Path)
		r.touch(q.URL.Query().Get("mount"))
		if q.ContentLength == 0 || q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/") {
			if q.Method == http.MethodPost || q.Method == http.MethodPut { // quick, and changes what the repository refers to
				defer r.collecting.RUnlock()
				next.ServeHTTP(w, q)
				return
			}
		}
		r.collecting.RUnlock()
		next.ServeHTTP(w, q)
	})
}

// refresh makes the blob that a request names young, and the repository's link to it: a client that asks for a blob may be about to refer to it.
func (r *Registry) refresh(path string) {
	repository, digest, ok := strings.Cut(strings.TrimPrefix(path, "/v2/"), "/blobs/")
	if !ok || !digestForm.MatchString(digest) {
		return
	}
	r.touch(digest)
	if dir, err := r.repository(repository); err == nil {
		now := r.now()
		_ = os.Chtimes(layerLink(dir, digest[len("sha256:"):]), now, now)
	}
}

// refreshAll makes young what a manifest refers to: from now on the manifest counts on it.
func (r *Registry) refreshAll(manifest []byte) {
	var refs references
	if json.Unmarshal(manifest, &refs) != nil {
		return // distribution refuses it
	}
	for _, d := range append(append(refs.Layers, refs.Manifests...), refs.Config) {
		r.touch(d.Digest.String())
	}
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Connection", "close") // the rest of an unwanted body is not read
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"errors":[{"code":"` + code + `","message":"` + message + `"}]}` + "\n"))
}

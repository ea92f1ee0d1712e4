package registry

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
		return app.Errorf(app.Unavailable, "check who owns the data directory", "cannot read the registry's key: %w", err)
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

// inRepository is what may follow "/v2/NAME/". Each form has a fixed number of elements, so a path has one reading only.
var inRepository = regexp.MustCompile(`^(manifests/[^/]+|blobs/sha256:[0-9a-f]{64}|blobs/uploads/[^/]*|tags/list)$`)

// readable is the part of it that a node needs.
var readable = regexp.MustCompile(`^(manifests/[^/]+|blobs/sha256:[0-9a-f]{64})$`)

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
		if !allowed(user, q) {
			refuse(w, http.StatusForbidden, "DENIED", "these credentials do not reach that far")
			return
		}
		next.ServeHTTP(w, q)
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
		}
		r.collecting.RLock()
		r.refresh(q.URL.Path)
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

// refresh makes the blob that a request names young, and the repository's link to it: whoever asks for a blob may be about to refer to it.
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

// allowed says whether a request is within the rights of a user.
func allowed(user string, q *http.Request) bool {
	path := q.URL.Path
	if q.URL.RawPath != "" && q.URL.RawPath != path { // an escaped path: distribution's names need none
		return false
	}
	reads := q.Method == http.MethodGet || q.Method == http.MethodHead
	if path == "/v2/" {
		return reads
	}
	repository, rest, ok := split(path)
	if !ok {
		return false
	}
	if own, ok := pulls(user); ok {
		return reads && readable.MatchString(rest) && (own == every || own == repository || strings.HasPrefix(repository, System))
	}
	if strings.HasPrefix(repository, System) {
		return reads
	}
	own := strings.Split(user, ",")
	if !slices.Contains(own, repository) {
		return false
	}
	if kind, _, _ := strings.Cut(q.Header.Get("Content-Type"), ";"); !reads && isForm(kind) { // a form in the body would go before the query
		return false
	}
	for _, from := range q.URL.Query()["from"] { // a blob that is mounted out of another repository is a blob that is read
		if !slices.Contains(own, from) && !strings.HasPrefix(from, System) {
			return false
		}
	}
	return true
}

func isForm(kind string) bool {
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/x-www-form-urlencoded" || strings.HasPrefix(kind, "multipart/")
}

// split divides "/v2/NAME/REST". A name cannot hold what a rest begins with in a way that leaves a second reading: the rest has two or three
// elements, whose first are fixed words.
func split(path string) (repository, rest string, ok bool) {
	p, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return "", "", false
	}
	for i := len(p) - 1; i > 0; i-- {
		if p[i] == '/' && inRepository.MatchString(p[i+1:]) && repositoryForm.MatchString(p[:i]) {
			return p[:i], p[i+1:], true
		}
	}
	return "", "", false
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Connection", "close") // nobody waits for the rest of a body that is not wanted
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"errors":[{"code":"` + code + `","message":"` + message + `"}]}` + "\n"))
}

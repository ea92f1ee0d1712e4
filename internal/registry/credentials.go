package registry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Credentials may pull from and push to one repository, and pull the run image. They live as long as the process.
func (r *Registry) Credentials(repository string) authn.Authenticator {
	return authn.FromConfig(authn.AuthConfig{Username: repository, Password: r.password(repository)})
}

func (r *Registry) password(repository string) string {
	m := hmac.New(sha256.New, r.secret[:])
	m.Write([]byte(repository))
	return hex.EncodeToString(m.Sum(nil))
}

// inRepository is what may follow "/v2/NAME/". Each form has a fixed number of elements, so a path has one reading only.
var inRepository = regexp.MustCompile(`^(manifests/[^/]+|blobs/sha256:[0-9a-f]{64}|blobs/uploads/[^/]*|tags/list)$`)

// authorise lets through what the credentials of the request allow. There is no anonymous access and no catalogue.
func (r *Registry) authorise(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		user, password, ok := q.BasicAuth()
		if !ok || !hmac.Equal([]byte(password), []byte(r.password(user))) {
			w.Header().Set("WWW-Authenticate", `Basic realm="gitd"`)
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
			return
		}
		if !allowed(user, q) {
			refuse(w, http.StatusForbidden, "DENIED", "these credentials do not reach that far")
			return
		}
		r.collecting.RLock()
		defer r.collecting.RUnlock()
		if i := strings.Index(q.URL.Path, "/blobs/sha256:"); i >= 0 && (q.Method == http.MethodHead || q.Method == http.MethodGet) {
			r.touch("sha256:" + q.URL.Path[i+len("/blobs/sha256:"):]) // whoever asks for a blob may be about to refer to it
		}
		next.ServeHTTP(w, q)
	})
}

// allowed says whether a request is within the rights of a repository's credentials.
func allowed(repository string, q *http.Request) bool {
	path := q.URL.Path
	if q.URL.RawPath != "" && q.URL.RawPath != path { // an escaped path: distribution's names need none
		return false
	}
	reads := q.Method == http.MethodGet || q.Method == http.MethodHead
	if path == "/v2/" {
		return reads
	}
	within := func(name string) bool {
		rest, ok := strings.CutPrefix(path, "/v2/"+name+"/")
		return ok && inRepository.MatchString(rest)
	}
	if within(RunImage) {
		return reads
	}
	if !within(repository) {
		return false
	}
	for _, from := range q.URL.Query()["from"] { // a blob that is mounted out of another repository is a blob that is read
		if from != repository && from != RunImage {
			return false
		}
	}
	return true
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"errors":[{"code":"` + code + `","message":"` + message + `"}]}` + "\n"))
}

package registry

import (
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"
)

// verdict is what becomes of a request whose credentials are right.
type verdict int

const (
	denied    verdict = iota // the repository is another app's, or these credentials may only read
	fine                     // distribution answers
	unknown                  // it does not exist in a repository that the caller may read: clients have a fallback
	noMethod                 // that is not done here, for any credentials
	badDigest                // a digest that is not computed here
)

// forms are what may follow "/v2/NAME/", with the methods that each has. Each form has a fixed number of elements, so a path has one reading only.
var forms = []struct {
	form    *pattern.Pattern
	methods []string
}{
	{pattern.New(`^manifests/[^/]+$`), []string{http.MethodGet, http.MethodHead, http.MethodPut}},
	{pattern.New(`^blobs/sha256:[0-9a-f]{64}$`), []string{http.MethodGet, http.MethodHead}},
	{pattern.New(`^blobs/uploads/$`), []string{http.MethodPost}},
	{pattern.New(`^blobs/uploads/[^/]+$`), []string{http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPut, http.MethodDelete}},
	{pattern.New(`^tags/list$`), []string{http.MethodGet, http.MethodHead}},
}

// others are the forms that a registry may have and this one does not: the referrers of an image, digests of another kind.
var others = pattern.New(`^(?:manifests|blobs|blobs/uploads|tags|referrers)/[^/]*$`)

// judge says what becomes of a request of a user.
func judge(user string, q *http.Request) verdict {
	of := q.URL.Path
	reads := q.Method == http.MethodGet || q.Method == http.MethodHead
	if of == "/v2/" {
		if reads {
			return fine
		}
		return noMethod
	}
	repository, methods := split(of)
	if repository == "" || q.URL.RawPath != "" && q.URL.RawPath != of { // an escaped path: distribution's names need none
		return elsewhere(user, of)
	}
	pulls, pushes := rights(user, repository)
	switch {
	case !pulls:
		return denied
	case !slices.Contains(methods, q.Method):
		return noMethod
	case !pushes && strings.Contains(of[len("/v2/")+len(repository):], "/blobs/uploads/") && reads:
		return unknown
	case !pushes && !reads:
		return denied
	case reads:
		return fine
	}
	return writes(user, q)
}

// writes judges a request that changes a repository of the user's.
func writes(user string, q *http.Request) verdict {
	if kind, _, _ := strings.Cut(q.Header.Get("Content-Type"), ";"); isForm(kind) { // a form in the body would go before the query
		return denied
	}
	query := q.URL.Query()
	for _, from := range query["from"] { // a blob that is mounted out of another repository is a blob that is read
		if pulls, _ := rights(user, from); !pulls {
			return denied
		}
	}
	for _, digest := range query["digest"] {
		if !digestForm.MatchString(digest) {
			return badDigest
		}
	}
	return fine
}

// rights says what a user may do with a repository.
func rights(user, repository string) (read, write bool) {
	system := strings.HasPrefix(repository, System)
	if own, ok := pulls(user); ok {
		return own == every || own == repository || system, false
	}
	own := slices.Contains(strings.Split(user, ","), repository)
	return own || system, own && !system
}

// elsewhere judges a path of no form that this registry knows.
func elsewhere(user, of string) verdict {
	p := strings.TrimPrefix(of, "/v2/")
	if path.Clean(p) != p { // "..": it lies where it does not say
		return denied
	}
	repository := ""
	for i := len(p) - 1; i > 0 && repository == ""; i-- {
		if p[i] == '/' && others.MatchString(p[i+1:]) && repositoryForm.MatchString(p[:i]) {
			repository = p[:i]
		}
	}
	if repository != "" {
		if read, _ := rights(user, repository); read {
			return unknown
		}
		return denied
	}
	for i := range p { // of a repository that the path lies in, whatever the rest of it is
		if p[i] == '/' && repositoryForm.MatchString(p[:i]) {
			if read, _ := rights(user, p[:i]); read {
				return unknown
			}
		}
	}
	return denied
}

// unknownCode is the code of the OCI's distribution specification for what is not there.
func unknownCode(path string) string {
	switch {
	case strings.Contains(path, "/blobs/uploads/"):
		return "BLOB_UPLOAD_UNKNOWN"
	case strings.Contains(path, "/blobs/"):
		return "BLOB_UNKNOWN"
	case strings.Contains(path, "/manifests/"):
		return "MANIFEST_UNKNOWN"
	}
	return "UNSUPPORTED"
}

func isForm(kind string) bool {
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/x-www-form-urlencoded" || strings.HasPrefix(kind, "multipart/")
}

// split divides "/v2/NAME/REST" and returns the repository, "" for a path of no known form, and the methods of its form. A name cannot hold what a rest
// begins with in a way that leaves a second reading: the rest has two or three elements, whose first are fixed words.
func split(of string) (repository string, methods []string) {
	p, ok := strings.CutPrefix(of, "/v2/")
	if !ok {
		return "", nil
	}
	for i := len(p) - 1; i > 0; i-- {
		if p[i] != '/' || !repositoryForm.MatchString(p[:i]) {
			continue
		}
		for _, f := range forms {
			if f.form.MatchString(p[i+1:]) {
				return p[:i], f.methods
			}
		}
	}
	return "", nil
}

package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
)

// listTags answers with the tags of a repository, in pages where the client asks for n.
func (r *request) listTags(w http.ResponseWriter, q *http.Request, _ string) error {
	query := q.URL.Query()
	limit := -1
	if n := query.Get("n"); n != "" {
		var err error
		if limit, err = strconv.Atoi(n); err != nil || limit < 0 {
			return errcode.ErrorCodePaginationNumberInvalid.WithDetail(map[string]int{"n": limit})
		}
	}
	tags, more := []string{}, false
	if limit != 0 {
		found, err := r.repo.Tags(r.ctx).List(r.ctx, limit, query.Get("last"))
		var noRepository distribution.ErrRepositoryUnknown
		switch {
		case errors.As(err, &noRepository):
			return errcode.ErrorCodeNameUnknown.WithDetail(map[string]string{"name": r.name})
		case err != nil && !errors.Is(err, io.EOF): // the end of the list
			return unknown(err)
		}
		more = err == nil
		if found != nil {
			tags = found
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if more {
		next := *q.URL
		next.RawQuery = url.Values{"n": {strconv.Itoa(limit)}, "last": {tags[len(tags)-1]}}.Encode()
		w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, next.String()))
	}
	_ = json.NewEncoder(w).Encode(struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{r.name, tags})
	return nil
}

package dataplane

import "net/http"

// StickyCookie names the cookie that holds the revision which a client stays with while traffic is split and sticky. It decides nothing else, and
// a client may forge it: what it names is one of the split, or it does not count.
const StickyCookie = "gitd_revision"

// stickyAge is how long, in seconds, a client that does not come back is remembered.
const stickyAge = 24 * 60 * 60

// stick returns the revision that a client came to before, or picks one and has the client remember it.
func (s Split) stick(w http.ResponseWriter, q *http.Request) *Revision {
	for _, c := range q.CookiesNamed(StickyCookie) {
		for _, t := range s {
			if t.Percent > 0 && t.Revision.opts.Name == c.Value {
				return t.Revision
			}
		}
	}
	r := s.pick()
	w.Header().Set("Set-Cookie", (&http.Cookie{Name: StickyCookie, Value: r.opts.Name, Path: "/", MaxAge: stickyAge, HttpOnly: true, SameSite: http.SameSiteLaxMode}).String())
	return r
}

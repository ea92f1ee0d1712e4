package obtain

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/mholt/acmez/v3/acme"
)

// limited says whether an authority answered that a limit of it is reached.
func limited(err error) bool {
	var p acme.Problem
	return errors.As(err, &p) && p.Type == acme.ProblemTypeRateLimited
}

// words say why there is no certificate.
func words(name string, err error) string {
	var p acme.Problem
	var u *url.Error
	if !errors.As(err, &p) && errors.As(err, &u) {
		where := u.URL
		if at, bad := url.Parse(u.URL); bad == nil {
			where = at.Host
		}
		return strings.Join(strings.Fields(fmt.Sprintf("the authority at %s cannot be reached: %v", where, u.Err)), " ")
	}
	if !errors.As(err, &p) {
		return strings.Join(strings.Fields(err.Error()), " ")
	}
	detail := p.Detail
	for _, s := range p.Subproblems {
		if s.Detail != "" {
			detail += "; " + s.Detail
		}
	}
	what := map[string]string{
		acme.ProblemTypeCAA:                     "a CAA record in the DNS forbids the authority to issue for " + name,
		acme.ProblemTypeRateLimited:             "a limit of the authority is reached",
		acme.ProblemTypeConnection:              "the authority cannot reach " + name,
		acme.ProblemTypeDNS:                     "the authority finds no address, or no record, of " + name + " in the DNS",
		acme.ProblemTypeUnauthorized:            "the authority does not find the proof at " + name + ": it may lead elsewhere",
		acme.ProblemTypeIncorrectResponse:       "the authority gets something else than the proof from " + name,
		acme.ProblemTypeTLS:                     "the authority cannot speak TLS with " + name,
		acme.ProblemTypeRejectedIdentifier:      "the authority does not issue for " + name,
		acme.ProblemTypeServerInternal:          "the authority has trouble of its own",
		acme.ProblemTypeUserActionRequired:      "the authority asks for something to be done by hand",
		acme.ProblemTypeExternalAccountRequired: "the authority takes accounts that it knows already alone",
	}[p.Type]
	if what == "" {
		what = "the authority refuses"
	}
	return strings.Join(strings.Fields(what+" ("+detail+")"), " ")
}

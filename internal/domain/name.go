// Package domain is the domains of apps beside APP.DOMAIN: their names, who may have which, the records that lead to this server, and their certificates.
package domain

import (
	"net/netip"
	"strings"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
	"golang.org/x/net/idna"
)

// maxLength is the longest name in bytes: RFC 1035 counts 255 in its own form of it.
const maxLength = 253

// profile maps what people type to what DNS has: lower case, Unicode in its composed form, international names as xn--…. It is made at first use.
var profile = sync.OnceValue(func() *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.CheckJoiners(true), idna.VerifyDNSLength(true), idna.StrictDomainName(true))
})

// ParseName returns the one form of a domain's name: ASCII, in lower case, without the dot at its end. "*.example.com" stands for the names that have one label
// more than example.com. It returns an *app.Error with code CodeInvalidName for what is not a name of at least two labels, or is an address.
func ParseName(s string) (string, error) {
	invalid := func(why string) error {
		return app.Errorf(app.CodeInvalidName, "give a name such as shop.example.com, without http:// and without a path", "invalid domain %q: %s", app.Clip(app.Plain(s), 60), why)
	}
	if len(s) > 4*maxLength { // more than any name in Unicode has
		return "", invalid("it is longer than 253 characters")
	}
	name := strings.TrimSuffix(s, ".")
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return "", invalid("it is an IP address")
	}
	name, wildcard := strings.CutPrefix(name, "*.")
	ascii, err := profile().ToASCII(name)
	ascii = strings.TrimSuffix(ascii, ".") // of a full stop in another script
	full := ascii
	if wildcard {
		full = "*." + ascii
	}
	last := ascii[strings.LastIndexByte(ascii, '.')+1:]
	switch {
	case len(full) > maxLength:
		return "", invalid("it is longer than 253 characters")
	case err != nil:
		return "", invalid("it must be labels of letters, digits and single -, joined by dots, each of at most 63 characters")
	case !strings.Contains(ascii, "."):
		return "", invalid("it has only one label")
	case strings.Trim(last, "0123456789") == "":
		return "", invalid("no domain ends in a number") // and programs would take it for an address
	}
	return full, nil
}

// under says whether a name is the domain, or one below it.
func under(name, domain string) bool {
	return domain != "" && (name == domain || strings.HasSuffix(name, "."+domain))
}

// Ancestors are the names whose owner has a say in a name: those above it, with at least two labels, and the wildcards that cover it.
func Ancestors(name string) []string {
	var all []string
	rest := strings.TrimPrefix(name, "*.")
	if rest != name {
		all = append(all, rest)
	}
	for {
		_, up, ok := strings.Cut(rest, ".")
		if !ok || !strings.Contains(up, ".") {
			return all
		}
		all = append(all, up, "*."+up)
		rest = up
	}
}

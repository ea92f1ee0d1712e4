package obtain

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/dns"
)

// issuers knows by which names CAA records call the authorities.
type issuers struct {
	roots    *x509.CertPool
	resolver string

	mu    sync.Mutex
	known map[string][]string // by directory
}

// allowed fails where CAA records forbid all of the authorities to issue for a name (RFC 8659). Asking costs none of the attempts that they allow. What cannot be
// found out is left to them.
func (i *issuers) allowed(ctx context.Context, directories []string, name string) error {
	var names []string
	for _, d := range directories {
		all := i.identities(ctx, d)
		if len(all) == 0 {
			return nil
		}
		names = append(names, all...)
	}
	bare, wildcard := strings.CutPrefix(name, "*.")
	client := &dns.Client{Server: i.resolver}
	for at := bare; at != ""; _, at, _ = strings.Cut(at, ".") {
		a, err := client.Query(ctx, at, dns.TypeCAA)
		if err != nil {
			return nil
		}
		records := a.Of(dns.TypeCAA)
		if len(records) == 0 {
			continue
		}
		allowed, some := caa(records, wildcard)
		if !some || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(allowed, n) }) {
			return nil
		}
		return fmt.Errorf("the CAA record of %s forbids it: it allows %s, and not %s", at, listed(allowed), listed(names))
	}
	return nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "no authority"
	}
	return strings.Join(names, ", ")
}

// caa are the authorities that records allow; some is false where they do not say.
func caa(records []string, wildcard bool) (allowed []string, some bool) {
	byTag := map[string][]string{}
	for _, r := range records { // flags, the tag's length, the tag, the value
		if len(r) < 2 || len(r) < 2+int(r[1]) {
			continue
		}
		tag := strings.ToLower(r[2 : 2+int(r[1])])
		value, _, _ := strings.Cut(r[2+int(r[1]):], ";")
		byTag[tag] = append(byTag[tag], strings.TrimSpace(value))
	}
	values, some := byTag["issue"]
	if wild, ok := byTag["issuewild"]; ok && wildcard {
		values, some = wild, true
	}
	for _, v := range values {
		if v != "" {
			allowed = append(allowed, strings.ToLower(v))
		}
	}
	return allowed, some
}

// identities are what an authority says CAA records call it.
func (i *issuers) identities(ctx context.Context, directory string) []string {
	i.mu.Lock()
	known, ok := i.known[directory]
	i.mu.Unlock()
	if ok {
		return known
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, directory, nil)
	if err != nil {
		return nil
	}
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: i.roots}, DisableKeepAlives: true}}
	res, err := c.Do(q)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var d struct {
		Meta struct {
			Identities []string `json:"caaIdentities"`
		} `json:"meta"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&d); err != nil || res.StatusCode != http.StatusOK {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known == nil {
		i.known = map[string][]string{}
	}
	i.known[directory] = d.Meta.Identities
	return d.Meta.Identities
}

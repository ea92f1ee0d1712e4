package repository

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/clouds"
	"github.com/gitd-io/gitd/internal/pattern"
)

// remote is where a submodule comes from.
type remote struct {
	scheme string // "https" or "ssh"
	user   string // with a password for https, where .gitmodules holds one; never shown
	host   string
	port   string // "" for the usual one
	path   string
	scp    bool // written as user@host:path, whose path is relative to the user's home
}

// Forms of what ssh and git would take for something else than a host or a user.
var (
	hostForm = pattern.New(`^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	userForm = pattern.New(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)
	scpForm  = pattern.New(`^(?:([^@/:]+)@)?(\[[0-9a-fA-F:.]+\]|[^@/:\[\]]+):([^:].*)$`)
	// numberForm are hosts that the C library takes for addresses, and we do not: 127.1, 2130706433, 0x7f.1.
	numberForm = pattern.New(`(?i)(^|\.)(0x[0-9a-f]*|[0-9]+)$`)

	portForm = pattern.New(`^[1-9][0-9]{0,4}$`)
)

// maxRemote bounds the length of a URL.
const maxRemote = 2000

const howToName = "name it by https:// or ssh:// in .gitmodules, commit, and push again"

// parseRemote reads the URL of a submodule: https, ssh, and user@host:path. Everything else is refused, in words.
func parseRemote(text string) (remote, error) {
	refuse := func(why string) (remote, error) {
		return remote{}, app.Errorf(app.CodeInvalidInput, howToName, "its URL %s", why)
	}
	if len(text) > maxRemote || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r == '\'' || r == '"' }) {
		return refuse("is too long, or holds characters that no URL has")
	}
	r := remote{}
	switch scheme, _, found := strings.Cut(text, "://"); {
	case text == "" || strings.HasPrefix(text, "-"):
		return refuse("is not a URL")
	case isRelative(text):
		return refuse("is relative, and a push does not say to what")
	case found && (scheme == "https" || scheme == "ssh" || scheme == "git+ssh" || scheme == "ssh+git"):
		u, err := url.Parse(text)
		if err != nil || u.RawQuery != "" || u.Fragment != "" {
			return refuse("cannot be read")
		}
		r = remote{scheme: "ssh", host: u.Hostname(), port: u.Port(), path: u.EscapedPath()}
		if scheme == "https" {
			r.scheme = scheme
		} else if r.path, err = url.PathUnescape(r.path); err != nil {
			return refuse("cannot be read")
		}
		if u.User != nil {
			r.user = u.User.String()
		}
	case found:
		return refuse("begins with " + app.Plain(app.Clip(scheme, 20)) + "://, which gitd does not fetch from")
	default:
		m := scpForm.FindStringSubmatch(text)
		if m == nil || strings.HasPrefix(text, "/") {
			return refuse("is a path, and the server has only what was pushed")
		}
		r = remote{scheme: "ssh", user: m[1], host: strings.Trim(m[2], "[]"), path: m[3], scp: true}
	}
	ip, err := netip.ParseAddr(r.host)
	switch {
	case err != nil && (!hostForm.MatchString(r.host) || numberForm.MatchString(r.host)), err == nil && ip.Zone() != "":
		return refuse("names no host")
	case r.port != "" && !portForm.MatchString(r.port):
		return refuse("has a bad port")
	case r.scheme == "ssh" && r.user != "" && !userForm.MatchString(r.user):
		return refuse("names no user that ssh knows; a password is of no use there")
	case strings.Trim(r.path, "/") == "" || strings.HasPrefix(strings.TrimLeft(r.path, "/"), "-"):
		return refuse("has no path")
	}
	return r, nil
}

func isRelative(text string) bool {
	return strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../") || text == "." || text == ".."
}

// resolve reads a URL of a submodule's submodule, which may be relative to the submodule's own.
func (r remote) resolve(text string) (remote, error) {
	if !isRelative(text) {
		return parseRemote(text)
	}
	up := strings.Trim(r.path, "/")
	text += "/" // "..": the last step
	for {
		rest, parent := strings.CutPrefix(text, "../")
		if !parent {
			if rest, parent = strings.CutPrefix(text, "./"); !parent {
				break
			}
			text = rest
			continue
		}
		if text = rest; up == "" || up == "." {
			return remote{}, app.Errorf(app.CodeInvalidInput, howToName, "its URL leads out of where it begins")
		}
		if up = path.Dir(up); up == "." {
			up = ""
		}
	}
	next := r
	next.path = path.Join(up, text)
	if next.path == "" || strings.HasPrefix(next.path, "..") {
		return remote{}, app.Errorf(app.CodeInvalidInput, howToName, "its URL names no repository")
	}
	if !r.scp {
		next.path = "/" + next.path
	}
	return parseRemote(next.url())
}

// url is the remote as git takes it, with what secrets it has.
func (r remote) url() string {
	host := r.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	user := r.user
	if user != "" {
		user += "@"
	}
	if r.scp {
		return user + host + ":" + r.path
	}
	if r.port != "" {
		host += ":" + r.port
	}
	return r.scheme + "://" + user + host + "/" + strings.TrimPrefix(r.path, "/")
}

// String is the remote as people may see it.
func (r remote) String() string {
	if r.scheme == "https" {
		r.user = ""
	}
	return app.Plain(app.Clip(r.url(), 200))
}

// usualPort returns the port, whether or not it was named.
func (r remote) usualPort() string {
	switch {
	case r.port != "":
		return r.port
	case r.scheme == "ssh":
		return "22"
	}
	return "443"
}

// addresses looks the host up, and refuses it where any of its addresses is one that a push must not make this machine talk to: its own, those
// of its containers, those that only this machine or its link can reach. git gets exactly these addresses, so that no
// second look-up can say otherwise.
func (r remote) addresses(ctx context.Context, allowed []netip.Prefix) ([]netip.Addr, error) {
	found := []netip.Addr{}
	if ip, err := netip.ParseAddr(r.host); err == nil {
		found = append(found, ip)
	} else {
		found, err = net.DefaultResolver.LookupNetIP(ctx, "ip", r.host)
		var no *net.DNSError
		switch {
		case errors.As(err, &no) && no.IsNotFound:
			return nil, app.Errorf(app.CodeInvalidInput, "check its URL in .gitmodules", "there is no host %s", r.host)
		case err != nil:
			return nil, app.Errorf(app.CodeUnavailable, "push again in a moment", "cannot resolve host %s: %w", r.host, err)
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for i, ip := range found {
		ip = ip.Unmap()
		found[i] = ip
		if !clouds.Reachable(ip, own, allowed) {
			return nil, app.Errorf(app.CodeForbidden, "use a host that others can reach as well, or ask the operator to allow this one", "host %s resolves to %s, which the server may not connect to", r.host, ip)
		}
	}
	return found, nil
}

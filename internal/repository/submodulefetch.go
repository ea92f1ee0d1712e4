package repository

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pattern"
	"github.com/gitd-io/gitd/internal/tail"
)

// get has git fetch one commit.
func (m *modules) get(ctx context.Context, o objects, from remote, commit string) error {
	addresses, err := from.addresses(ctx, m.repository.folder.opts.ModulesFrom)
	if err != nil {
		return err
	}
	if from.scheme == "https" && !pinned() {
		return app.Errorf(app.CodeUnavailable, "name it by ssh:// in .gitmodules, or ask the operator to install git 2.37 or newer",
			"the server's git is too old to fetch over https from exactly the addresses that were checked")
	}
	public := ""
	if from.scheme == "ssh" {
		if !m.exists { // its key would belong to another key that creates the app first
			return app.Errorf(app.CodeNotFound, "create it first: apps create "+m.repository.name+", see its key: deploy-key "+m.repository.name, "app %s does not exist yet, so it has no deploy key", m.repository.name)
		}
		if public, err = m.repository.deployKey(false); err != nil {
			return err
		}
	}
	fetch := func(args ...string) error {
		return m.git(ctx, o, from, addresses, append([]string{"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
			"--no-recurse-submodules"}, args...)...)
	}
	err = fetch("--depth=1", "--", from.url(), commit+":refs/commits/"+commit)
	var g *GitError
	if errors.As(err, &g) && g.says("not allow request for unadvertised object", "no such remote ref") { // an old server: it tells only of branches and tags
		err = fetch("--", from.url(), "+refs/heads/*:refs/remotes/heads/*", "+refs/tags/*:refs/remotes/tags/*")
	}
	if errors.As(err, &g) {
		return m.explain(g, from, commit, public)
	}
	return err
}

// pinned says whether the git that is installed connects to the addresses that it is given: http.curloptResolve, which others leave out in silence.
var pinned = sync.OnceValue(func() bool {
	out, err := exec.Command("git", "version").Output()
	return err == nil && hasResolve(string(out))
})

var versionForm = pattern.New(`^git version ([0-9]{1,4})\.([0-9]{1,4})`)

// hasResolve says whether what git says of its version is 2.37 or newer.
func hasResolve(version string) bool {
	m := versionForm.FindStringSubmatch(version)
	if m == nil {
		return false
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return major > 2 || major == 2 && minor >= 37
}

// explain puts into words why git could not fetch.
func (m *modules) explain(g *GitError, from remote, commit, public string) error {
	told := func(code app.Code, next, format string, args ...any) error {
		return app.Wrap(g, code, next, "%s %s", from, fmt.Sprintf(format, args...))
	}
	switch {
	case g.killedBy() == syscall.SIGXCPU, g.says("File too large", "invalid index-pack output", "ut of memory"): // that is all that git says of an index-pack that was killed
		return told(app.CodeLimitExceeded, "have less in it", "is too large: more than %s, or too much work", app.Size(m.limits.Pack))
	case g.says("No space left on device", "Disk quota exceeded"):
		return app.Errorf(app.CodeUnavailable, "ask the operator to make room", "the server's disk is full")
	case g.says("not our ref", "no such remote ref", "remote error: upload-pack"):
		return notThere(from, commit)
	case g.says("Host key verification failed", "HOST IDENTIFICATION HAS CHANGED"):
		return told(app.CodeForbidden, "if that is right, forget the old one: deploy-key "+m.repository.name+" --forget-hosts", "shows another host key than before")
	case g.says("Permission denied", "Could not read from remote repository") && public != "":
		return told(app.CodeForbidden, "let the app's deploy key read it: "+public, "cannot be read: it does not exist, or is private")
	case g.says("could not read Username", "could not read Password", "Authentication failed", "terminal prompts disabled", "error: 401", "error: 403"):
		return told(app.CodeForbidden, "name it by ssh:// in .gitmodules, and let the app's deploy key read it: deploy-key "+m.repository.name, "cannot be read without a login: it does not exist, or is private")
	case g.says("redirect", "error: 30"):
		return told(app.CodeInvalidInput, "name it in .gitmodules by the URL that it has now", "is a redirection, which is not followed")
	case g.says("SSL certificate", "server certificate", "certificate verif", "TLS"):
		return told(app.CodeInvalidInput, "ask the operator to add the certificate's authority to the server's", "has a certificate that this server does not trust")
	}
	why := "git fetch failed"
	if n := len(g.lines); n > 0 {
		why = app.Plain(strings.ReplaceAll(g.lines[n-1], from.url(), from.String()))
	}
	return told(app.CodeInvalidInput, "see whether you can: git fetch "+from.String(), "cannot be fetched: %s", why)
}

// passedOn are the variables of our environment that say how the internet is reached.
var passedOn = []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "GIT_SSL_CAINFO", "SSL_CERT_FILE"}

// git runs a git command that talks to a remote.
func (m *modules) git(ctx context.Context, o objects, from remote, addresses []netip.Addr, args ...string) error {
	settings := []string{
		"credential.helper=", "core.askPass=", "core.hooksPath=/dev/null", "core.bigFileThreshold=16m", "core.fsync=none", "gc.auto=0", "maintenance.auto=false",
		"protocol.version=2", "transfer.bundleURI=false", "fetch.unpackLimit=1", "fetch.fsckObjects=true", "fetch.writeCommitGraph=false",
		"http.followRedirects=false", "http.lowSpeedLimit=100", "http.lowSpeedTime=30", "http.emptyAuth=false", "http.saveCookies=false",
	}
	for exception := range strings.SplitSeq(fsckExceptions, ",") {
		settings = append(settings, "fetch.fsck."+exception)
	}
	if from.scheme == "https" {
		var list []string
		for _, a := range addresses {
			text := a.String()
			if a.Is6() {
				text = "[" + text + "]"
			}
			list = append(list, text)
		}
		if _, err := netip.ParseAddr(from.host); err != nil { // an address needs no resolving, and curl takes none with colons here
			settings = append(settings, "http.curloptResolve="+from.host+":"+from.usualPort()+":"+strings.Join(list, ","))
		}
		for _, name := range []string{"GIT_SSL_CAINFO", "SSL_CERT_FILE"} {
			if file := os.Getenv(name); file != "" {
				settings = append(settings, "http.sslCAInfo="+file)
				break
			}
		}
	}
	all := []string{}
	for _, s := range settings {
		all = append(all, "-c", s)
	}
	c := o.command(ctx, append(all, args...)...)
	c.Env = append(c.Env, "GIT_ALLOW_PROTOCOL="+from.scheme, "GIT_ASKPASS=/bin/false", "SSH_ASKPASS=/bin/false", "GIT_PROTOCOL_FROM_USER=0")
	for _, name := range passedOn {
		if v, ok := os.LookupEnv(name); ok && from.scheme == "https" {
			c.Env = append(c.Env, name+"="+v)
		}
	}
	if from.scheme == "ssh" {
		c.Env = append(c.Env, "GIT_SSH_VARIANT=ssh", "GIT_SSH_COMMAND="+m.ssh(from, addresses[0]))
	}
	if err := withLimits(c, m.limits); err != nil {
		return err
	}
	c.SysProcAttr.Pdeathsig = syscall.SIGKILL
	var stderr tail.Tail
	c.Stderr = &stderr
	if err := c.Run(); err != nil {
		if e := context.Cause(ctx); e != nil {
			return e
		}
		return &GitError{command: "fetch", lines: complaints(&stderr), err: err}
	}
	return nil
}

// ssh is the command by which git reaches a submodule: with the app's deploy key and no other, no user's configuration, and the address
// that was checked. A host that the operator's known hosts do not have is believed when it is first seen, by each app for itself.
func (m *modules) ssh(from remote, address netip.Addr) string {
	dir := m.repository.path
	alias := from.host
	if from.port != "" && from.port != "22" {
		alias = "[" + from.host + "]:" + from.port
	}
	words := []string{"ssh", "-F", "/dev/null", "-i", strings.ReplaceAll(filepath.Join(dir, deployKeyFile), "%", "%%")}
	for _, o := range []string{
		"BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "PreferredAuthentications=publickey", "ForwardAgent=no", "ClearAllForwardings=yes",
		"PermitLocalCommand=no", "ProxyCommand=none", "ControlPath=none", "ConnectTimeout=15", "ServerAliveInterval=15", "ServerAliveCountMax=3",
		"StrictHostKeyChecking=accept-new", "UserKnownHostsFile=\"" + strings.ReplaceAll(filepath.Join(dir, knownHostsFile), "%", "%%") + "\"", "GlobalKnownHostsFile=/etc/ssh/ssh_known_hosts",
		"CheckHostIP=no", "UpdateHostKeys=no", "HostKeyAlias=" + alias, "HostName=" + net.ParseIP(address.String()).String(),
	} {
		words = append(words, "-o", o)
	}
	for i, w := range words {
		words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(words, " ")
}

// withLimits makes a command, and all that it starts, have limits on memory, processor time and the size of a file from its first
// instruction on: it begins to talk to strangers before they could be set from outside.
func withLimits(c *exec.Cmd, limits Limits) error {
	shell, err := exec.LookPath("sh")
	if err != nil {
		return err
	}
	const script = `ulimit -t "$1" && ulimit -d "$2" && ulimit -f "$3" && ulimit -c 0 && shift 3 && exec "$@"`
	c.Args = append([]string{"sh", "-c", script, "sh", strconv.FormatInt(int64(limits.CPU.Seconds()), 10),
		strconv.FormatUint(limits.Memory>>10, 10), strconv.FormatInt(limits.Pack>>9+1, 10)}, c.Args...)
	c.Path = shell
	return nil
}

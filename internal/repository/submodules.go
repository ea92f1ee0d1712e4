package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// Submodules are fetched by git when the push that names them is checked: exactly the commit that is named, into a repository that the app
// keeps for each URL, so that a submodule that has not changed costs no look at the network. git gets no credentials but the
// app's deploy key, no way to another host than the one that was checked, and limits on everything.

const (
	modulesDir = "submodules" // where a repository has what was fetched: a bare repository for each URL
	maxNesting = 4            // of submodules in submodules
)

// modules fetches the submodules of one push.
type modules struct {
	repository *Repository
	q          *Quarantine
	limits     Limits
	exists     bool // the app does, and has a deploy key
	log        *app.Log
	fetched    int
	used       map[string]bool // folders, by name
}

// level is a repository whose tree has submodules.
type level struct {
	objects objects
	cat     *catFile
	prefix  string // of the paths of its files in the whole, "" or ending in "/"
	from    *remote
	depth   int
}

// AddSubmodules fetches the commit's submodules, and theirs, and puts their files in their places. An app that does not exist yet has no deploy key
// to fetch them with. What is fetched is told to log.
func (q *Quarantine) AddSubmodules(ctx context.Context, exists bool, log *app.Log) error {
	limits := q.of.limits()
	q.modules = &modules{repository: q.of, q: q, limits: limits, exists: exists, log: log, used: map[string]bool{}}
	ctx, cancel := context.WithTimeoutCause(ctx, limits.ModulesTime,
		app.Errorf(app.CodeLimitExceeded, "push again, or have less to fetch", "fetching the submodules took longer than %v", limits.ModulesTime))
	defer cancel()
	all, err := q.modules.expand(ctx, level{objects: q.objects, cat: q.cat}, q.entries, tallyOf(q.entries))
	if e := context.Cause(ctx); err != nil && e != nil {
		return e
	}
	if err == nil {
		q.entries = all
	}
	return err
}

// done lets go of what was fetched. What came with a push that failed goes, or else pushes that fail would fill the disk.
func (m *modules) done(ok bool) {
	if err := m.repository.releaseModules(m.used, ok); err != nil {
		m.repository.folder.opts.Log("submodules of %s: %v", m.repository.name, err)
	}
}

// expand returns the entries of one repository with those of its submodules in their places. known is what is known so far.
func (m *modules) expand(ctx context.Context, l level, entries []entry, known tally) ([]entry, error) {
	any := false
	for _, e := range entries {
		any = any || e.mode == filemode.Submodule
	}
	if !any {
		return entries, nil
	}
	urls, err := m.urls(ctx, l, entries)
	if err != nil {
		return nil, err
	}
	all := make([]entry, 0, len(entries))
	for _, e := range entries {
		if e.mode != filemode.Submodule {
			all = append(all, e)
			continue
		}
		inside, err := m.one(ctx, l, e, urls[strings.TrimPrefix(e.path, l.prefix)], known)
		if err != nil {
			var told *app.Error
			if errors.As(err, &told) {
				with := *told
				with.Message = fmt.Sprintf("submodule %s: %s", quote(e.path), told.Message)
				return nil, &with
			}
			return nil, fmt.Errorf("submodule %s: %w", e.path, err)
		}
		known = known.and(tallyOf(inside))
		all = append(all, inside...)
	}
	return all, nil
}

// one returns the entries of one submodule, its folder first.
func (m *modules) one(ctx context.Context, l level, e entry, url string, known tally) ([]entry, error) {
	const orElse = "or put its files into this repository: git rm --cached PATH && git add PATH"
	if url == "" {
		return nil, app.Errorf(app.CodeInvalidInput, "add it with: git submodule add URL PATH, "+orElse, ".gitmodules does not say where it comes from")
	}
	if l.depth >= maxNesting {
		return nil, app.Errorf(app.CodeLimitExceeded, "put its files into the repository that has it", "submodules are nested more than %d deep", maxNesting)
	}
	if m.fetched++; m.fetched > m.limits.Modules {
		return nil, app.Errorf(app.CodeLimitExceeded, "reduce the number of submodules", "there are more than %d submodules", m.limits.Modules)
	}
	from, err := m.remote(l, url)
	if err != nil {
		return nil, err
	}
	o, err := m.fetch(ctx, from, e.id.String())
	if err != nil {
		return nil, err
	}
	cat := &catFile{ctx: m.q.cat.ctx, objects: o, limits: m.limits}
	m.q.readers = append(m.q.readers, cat)
	folder := entry{path: e.path, mode: filemode.Dir}
	var inside []entry
	err = cat.use(ctx, func() error {
		kind, content, err := cat.object(e.id, maxCommitBytes)
		if err != nil {
			return err
		}
		tree := headerValues(content, "tree")
		if kind != "commit" || len(tree) != 1 {
			return app.Errorf(app.CodeInvalidInput, "check it with: git fsck", "%.12s is no sound commit", e.id)
		}
		inside, _, err = cat.walkTree(tree[0], e.path+"/", known, m.limits, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range inside {
		inside[i].module = cat
	}
	inside, err = m.expand(ctx, level{objects: o, cat: cat, prefix: e.path + "/", from: &from, depth: l.depth + 1}, inside, known.and(tallyOf(inside)).and(tallyOf([]entry{folder})))
	return append([]entry{folder}, inside...), err
}

func (m *modules) remote(l level, url string) (remote, error) {
	if l.from != nil {
		return l.from.resolve(url)
	}
	return parseRemote(url)
}

// fetch returns the repository that has the commit, fetched if need be.
func (m *modules) fetch(ctx context.Context, from remote, commit string) (objects, error) {
	st := &m.repository.modules
	select { // one fetch of an app at a time
	case st.fetching <- struct{}{}:
		defer func() { <-st.fetching }()
	case <-ctx.Done():
		return objects{}, context.Cause(ctx)
	}
	sum := sha256.Sum256([]byte(from.url()))
	folder := hex.EncodeToString(sum[:16])
	mine := m.used[folder] // something of ours reads from it
	if !mine {
		m.used[folder] = true
		st.use(folder)
	}
	o := objects{repository: filepath.Join(m.repository.path, modulesDir, folder)}
	has := func() bool {
		_, err := o.run(ctx, "", m.limits, "cat-file", "-e", commit+"^{tree}")
		return err == nil
	}
	if _, err := os.Stat(o.repository); err == nil {
		if has() {
			return o, nil
		}
		if n, err := folderSize(o.repository); (err != nil || n > m.limits.Pack) && !mine && st.onlyUser(folder) {
			if err := disk.RemoveAll(o.repository); err != nil { // begun again
				return o, err
			}
		}
	} else {
		st.add(folder)
	}
	if err := room(m.repository.path, m.limits.MinFree+m.limits.Pack, "fetching a submodule"); err != nil {
		return o, err
	}
	if err := makeModule(o.repository); err != nil {
		return o, err
	}
	m.log.Step("Fetching submodule %s (%.7s)", from, commit)
	if err := m.get(ctx, o, from, commit); err != nil {
		_ = cleanModule(o.repository)
		return o, err
	}
	if !has() {
		return o, notThere(from, commit)
	}
	return o, nil
}

func notThere(from remote, commit string) error {
	return app.Errorf(app.CodeInvalidInput, "push it there first, then push again: git push --recurse-submodules=on-demand", "%s has no commit %.12s", from, commit)
}

// makeModule makes an empty bare repository, if there is none.
func makeModule(dir string) error {
	if err := os.Mkdir(filepath.Dir(dir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	_, err := makeBare(dir, "refs/commits", "\tbare = true\n")
	return err
}

// cleanModule removes what a fetch that failed has left.
func cleanModule(dir string) error {
	for _, pattern := range []string{"objects/pack/tmp_*", "objects/pack/.tmp*", "*.lock", "refs/commits/*.lock", "objects/tmp_*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := disk.RemoveAll(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func folderSize(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

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

var versionForm = regexp.MustCompile(`^git version ([0-9]{1,4})\.([0-9]{1,4})`)

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
	var complaint tail
	c.Stderr = &complaint
	if err := c.Run(); err != nil {
		if e := context.Cause(ctx); e != nil {
			return e
		}
		return &GitError{command: "fetch", lines: complaint.lines(), err: err}
	}
	return nil
}

// ssh is the command by which git reaches a submodule: with the app's deploy key and no other, nobody's configuration, and the address
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
// instruction on: it begins to talk to strangers before anybody could set them from outside.
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

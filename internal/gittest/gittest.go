// Package gittest is a developer's machine for tests: a home with keys, git and ssh, and what waits for things to happen.
package gittest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// User is a person with a home, who talks to one server.
type User struct {
	T       testing.TB
	Home    string
	Tmp     string          // short, for git-lfs puts sockets there (and leaves their folders)
	Key     string          // path of the private key that git and ssh use
	Addr    string          // the server's HOST:PORT
	HostKey gossh.PublicKey // the server's
}

// NewUser makes a home. It is removed when the test ends.
func NewUser(t testing.TB) *User {
	t.Helper()
	tmp, err := os.MkdirTemp("", "clients-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	return &User{T: t, Home: t.TempDir(), Tmp: tmp}
}

// Trust makes the server at addr known.
func (u *User) Trust(addr string, hostKey gossh.PublicKey) {
	u.Addr, u.HostKey = addr, hostKey
	host, port, _ := net.SplitHostPort(addr)
	u.Write("known_hosts", fmt.Sprintf("[%s]:%s %s", host, port, gossh.MarshalAuthorizedKey(hostKey)))
}

// Write writes a file below the home, and returns its path.
func (u *User) Write(name, text string) string {
	u.T.Helper()
	p := filepath.Join(u.Home, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		u.T.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		u.T.Fatal(err)
	}
	return p
}

// MakeKey makes a key pair in the home. It returns the path of the private key, and the public key.
func (u *User) MakeKey(file string) (path string, key gossh.PublicKey) {
	u.T.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		u.T.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(private, "")
	if err != nil {
		u.T.Fatal(err)
	}
	if key, err = gossh.NewPublicKey(public); err != nil {
		u.T.Fatal(err)
	}
	u.Write(file+".pub", string(gossh.MarshalAuthorizedKey(key)))
	return u.Write(file, string(pem.EncodeToMemory(block))), key
}

// Signer reads a private key.
func (u *User) Signer(path string) gossh.Signer {
	u.T.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		u.T.Fatal(err)
	}
	s, err := gossh.ParsePrivateKey(b)
	if err != nil {
		u.T.Fatal(err)
	}
	return s
}

// SSHArgs are the options of an ssh that uses one key.
func (u *User) SSHArgs(key string) []string {
	return []string{"-F", "/dev/null", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + filepath.Join(u.Home, "known_hosts")}
}

// Env is the environment of a git that uses one key.
func (u *User) Env(key string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + u.Home, "TMPDIR=" + u.Tmp, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=init.defaultBranch", "GIT_CONFIG_VALUE_0=main", "GIT_CONFIG_KEY_1=protocol.file.allow", "GIT_CONFIG_VALUE_1=always",
		"GIT_SSH_COMMAND=ssh " + strings.Join(u.SSHArgs(key), " ")}
}

// URL is an app's on the server.
func (u *User) URL(name string) string { return "ssh://git@" + u.Addr + "/" + name }

// Cmd prepares a command of the user, in its own process group.
func (u *User) Cmd(dir, name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir, c.Env = dir, u.Env(u.Key)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// Try runs git and returns all of its output.
func (u *User) Try(dir string, args ...string) (string, error) {
	b, err := u.Cmd(dir, "git", args...).CombinedOutput()
	return string(b), err
}

// Git runs git, which must succeed.
func (u *User) Git(dir string, args ...string) string {
	u.T.Helper()
	out, err := u.Try(dir, args...)
	if err != nil {
		u.T.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

// Rejected runs git, which must fail and say all of the words.
func (u *User) Rejected(dir string, words []string, args ...string) string {
	u.T.Helper()
	out, err := u.Try(dir, args...)
	if err == nil {
		u.T.Fatalf("git %s went well\n%s", strings.Join(args, " "), out)
	}
	MustHold(u.T, out, words...)
	return out
}

// Work makes a repository with one commit, and the remote "platform".
func (u *User) Work(name string) string {
	u.T.Helper()
	dir := filepath.Join(u.T.TempDir(), name)
	u.Git("/", "init", "-q", dir)
	u.Git(dir, "remote", "add", "platform", u.URL(name))
	u.Commit(dir, "hello.txt", "hello\n")
	return dir
}

// Commit writes a file and commits everything. It returns the commit.
func (u *User) Commit(dir, file, text string) string {
	u.T.Helper()
	p := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		u.T.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		u.T.Fatal(err)
	}
	u.Git(dir, "add", "-A")
	u.Git(dir, "commit", "-qm", "change "+file)
	return u.Git(dir, "rev-parse", "HEAD")
}

// Bare makes a bare repository with one empty blob, and returns what makes trees of lines as git mktree takes them.
func (u *User) Bare() (repository, blob string, tree func(lines string) string) {
	u.T.Helper()
	repository = filepath.Join(u.T.TempDir(), "x.git")
	u.Git("/", "init", "-q", "--bare", repository)
	feed := func(stdin string, args ...string) string {
		c := u.Cmd(repository, "git", args...)
		c.Stdin = strings.NewReader(stdin)
		out, err := c.Output()
		if err != nil {
			u.T.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	return repository, feed("", "hash-object", "-w", "--stdin"), func(lines string) string { return feed(lines, "mktree") }
}

// SSH runs ssh and returns its output, errors and exit status.
func (u *User) SSH(key string, stdin string, args ...string) (stdout, stderr string, status int) {
	u.T.Helper()
	host, port, _ := net.SplitHostPort(u.Addr)
	c := u.Cmd(u.Home, "ssh", append(append(u.SSHArgs(key), "-p", port, "git@"+host), args...)...)
	var o, e bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &o, &e
	if err := c.Run(); err != nil {
		var x *exec.ExitError
		if !errors.As(err, &x) {
			u.T.Fatal(err)
		}
	}
	return o.String(), e.String(), c.ProcessState.ExitCode()
}

// Client is how x/crypto authenticates with a key.
func (u *User) Client(signer gossh.Signer) *gossh.ClientConfig {
	return &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(u.HostKey), Auth: []gossh.AuthMethod{gossh.PublicKeys(signer)}}
}

// Dial makes an SSH connection with the user's key.
func (u *User) Dial() *gossh.Client {
	u.T.Helper()
	c, err := gossh.Dial("tcp", u.Addr, u.Client(u.Signer(u.Key)))
	if err != nil {
		u.T.Fatal(err)
	}
	return c
}

// ConnectFrom opens a TCP connection from a local address such as 127.0.0.2.
func (u *User) ConnectFrom(address string) net.Conn {
	u.T.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: Patience}
	c, err := d.Dial("tcp", u.Addr)
	if err != nil {
		u.T.Fatal(err)
	}
	u.T.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * Patience))
	return c
}

// DialFrom makes an SSH connection from a local address.
func (u *User) DialFrom(address string, signer gossh.Signer) (*gossh.Client, error) {
	raw := u.ConnectFrom(address)
	c, channels, requests, err := gossh.NewClientConn(raw, u.Addr, u.Client(signer))
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return gossh.NewClient(c, channels, requests), nil
}

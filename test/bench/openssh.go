package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"time"
)

// ssh measures what a session costs: a command that does nothing, and a push that has nothing to say.
func (b *bench) ssh() error {
	s, src, err := b.web()
	if err != nil {
		return err
	}
	address, login, repository, err := b.serveOpenSSH(src)
	if err != nil {
		return err
	}
	options := s.sshOptions()
	command := func(address, user, what string) func() (time.Duration, error) {
		args := append(append([]string{"ssh"}, options...), "-p", port(address), user+"@127.0.0.1", what)
		return func() (time.Duration, error) { return b.timed("", nil, args...) }
	}
	push := func(remote string) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			t := time.Now()
			_, err := b.git(src, "push", "-q", remote, "main")
			return time.Since(t), err
		}
	}
	kinds := []struct {
		what       string
		gitd, peer func() (time.Duration, error)
	}{
		{"no-op SSH command (version; true)", command(s.SSH, "git", "version"), command(address, login, "true")},
		{"no-change push", push("ssh://git@" + s.SSH + "/web"), push("ssh://" + login + "@" + address + repository)},
	}
	rounds := b.rounds(30, 10)
	b.report.title("SSH: gitd against OpenSSH sshd and git")
	for _, k := range kinds {
		var gitd, peer samples
		for i := range rounds + 1 {
			d, err := k.gitd()
			if err != nil {
				return err
			}
			e, err := k.peer()
			if err != nil {
				return fmt.Errorf("OpenSSH: %w", err)
			}
			if i > 0 { // the first one warms up
				gitd.add(d)
				peer.add(e)
			}
		}
		b.say("  %s: gitd %s, OpenSSH %s", k.what, seconds(gitd.median()), seconds(peer.median()))
		b.report.ratio(k.what, gitd, peer, 0.5)
	}
	return nil
}

// serveOpenSSH starts an sshd beside a bare repository that already has what src holds.
func (b *bench) serveOpenSSH(src *source) (address, login, repository string, err error) {
	dir := filepath.Join(b.dir, "sshd")
	if address, login, _, err = b.startSSHD(dir, b.server.key+".pub"); err != nil {
		return "", "", "", err
	}
	repository = filepath.Join(dir, "web.git")
	if _, err := b.git(src, "clone", "-q", "--bare", src.dir, repository); err != nil {
		return "", "", "", err
	}
	return address, login, repository, nil
}

// startSSHD starts an sshd with a configuration and a host key of its own in dir, for one public key. Its sessions get an empty
// home, lest the account's shell start-up files are measured.
func (b *bench) startSSHD(dir, publicKey string) (address, login string, p *process, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", nil, err
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // its privilege separation wants it
		return "", "", nil, err
	}
	if address, err = freeAddress(); err != nil {
		return "", "", nil, err
	}
	u, err := user.Current()
	if err != nil {
		return "", "", nil, err
	}
	hostKey := filepath.Join(dir, "host")
	if _, err := b.command("", nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", hostKey); err != nil {
		return "", "", nil, err
	}
	config := fmt.Sprintf("ListenAddress %s\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nPermitRootLogin yes\nStrictModes no\n"+
		"UsePAM no\nPasswordAuthentication no\nUseDNS no\nPrintMotd no\nPrintLastLog no\n"+
		"SetEnv HOME=%s\n", address, hostKey, publicKey, dir)
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return "", "", nil, err
	}
	if p, err = start("sshd", nil, nil, "sshd", "-D", "-e", "-f", file); err != nil {
		return "", "", nil, err
	}
	b.onExit(func() { p.stop(5 * time.Second) })
	return address, u.Username, p, p.wait(b.ctx, 20*time.Second, listening(address))
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// shell runs commands on a machine, over one SSH connection that it opens again after a boot.
type shell struct {
	address string
	key     string // path
	config  *ssh.ClientConfig

	mu     sync.Mutex
	client *ssh.Client
}

func newShell(key string) (*shell, error) {
	b, err := os.ReadFile(key)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(b)
	if err != nil {
		return nil, err
	}
	return &shell{key: key, config: &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // a machine of our own, on loopback; it makes a host key at its first boot
	}}, nil
}

// dial opens the connection.
func (s *shell) dial() error {
	s.hangUp()
	c, err := net.DialTimeout("tcp", s.address, 5*time.Second)
	if err != nil {
		return err
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second)) // QEMU accepts before the machine listens
	conn, channels, requests, err := ssh.NewClientConn(c, s.address, s.config)
	if err != nil {
		_ = c.Close()
		return err
	}
	_ = c.SetDeadline(time.Time{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = ssh.NewClient(conn, channels, requests)
	return nil
}

func (s *shell) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		_ = s.client.Close()
		s.client = nil
	}
}

// errLost means that the connection ended before the command did.
var errLost = errors.New("the connection to the machine is lost")

// run runs a command in bash and returns what it said on both outputs. Its error is the command's exit status, or errLost.
func (s *shell) run(script string) (string, error) { return s.within(20*time.Minute, script) }

func (s *shell) within(d time.Duration, script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return s.runContext(ctx, script, nil)
}

func (s *shell) runContext(ctx context.Context, script string, stdin []byte) (string, error) {
	s.mu.Lock()
	client := s.client
	s.mu.Unlock()
	if client == nil {
		return "", errLost
	}
	session, err := client.NewSession()
	if err != nil {
		return "", fmt.Errorf("%w: %v", errLost, err)
	}
	defer session.Close()
	var out output
	session.Stdin = bytes.NewReader(stdin)
	session.Stdout, session.Stderr = &out, &out
	ended := make(chan error, 1)
	if err := session.Start("exec bash -c " + quote(script)); err != nil {
		return "", fmt.Errorf("%w: %v", errLost, err)
	}
	go func() { ended <- session.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		return out.String(), fmt.Errorf("the command did not end in time: %w", ctx.Err())
	}
	var exit *ssh.ExitError
	if err != nil && !errors.As(err, &exit) {
		err = fmt.Errorf("%w: %v", errLost, err)
	}
	return out.String(), err
}

// sh is run for checks: a failure is part of what the command said.
func (s *shell) sh(script string) string {
	out, err := s.run(script)
	if err != nil {
		out = strings.TrimRight(out, "\n") + "\n[" + err.Error() + "]"
	}
	return strings.TrimSpace(out)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// output may be written to by two copiers.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

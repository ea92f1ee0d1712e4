package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdGitd runs a local command on the script's data directory. "< FILE" at the end is its standard input.
func cmdGitd(w *world, ts *testscript.TestScript, args []string) (output, error) {
	stdin, args := redirected(ts, args)
	return run(ts, stdin, gitd, append(append([]string{}, args...), "--data", w.data)...)
}

// askJSON runs a local command that prints JSON.
func askJSON(w *world, ts *testscript.TestScript, to any, args ...string) error {
	o, err := cmdGitd(w, ts, args)
	if err == nil {
		err = json.Unmarshal([]byte(o.stdout), to)
	}
	if err != nil {
		err = fmt.Errorf("gitd %s: %w: %s%s", strings.Join(args, " "), err, o.stdout, o.stderr)
	}
	return err
}

// redirected takes "< FILE" off the end of arguments, and returns what is in the file.
func redirected(ts *testscript.TestScript, args []string) (stdin []byte, left []string) {
	n := len(args)
	if n <= 2 || args[n-2] != "<" {
		return nil, args
	}
	b, err := os.ReadFile(ts.MkAbs(args[n-1]))
	ts.Check(err)
	return b, args[:n-2]
}

func keyFile(ts *testscript.TestScript, name string) string {
	return filepath.Join(ts.Getenv("HOME"), "keys", name)
}

func cmdKey(_ *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 1 {
		ts.Fatalf("usage: key NAME")
	}
	_, err := run(ts, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", args[0], "-f", keyFile(ts, args[0]))
	ts.Check(err)
	return output{}, nil
}

func cmdAs(_ *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 1 {
		ts.Fatalf("usage: as NAME")
	}
	ts.Setenv("KEY", keyFile(ts, args[0]))
	ts.Setenv("GIT_SSH_COMMAND", strings.Join(append([]string{"ssh"}, sshFlags(ts)...), " "))
	return output{}, nil
}

// sshFlags keep the tests' ssh to the tests' key and configuration.
func sshFlags(ts *testscript.TestScript) []string {
	return []string{"-F", ts.Getenv("SSH_CONFIG"), "-i", ts.Getenv("KEY")}
}

func cmdUser(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) == 0 {
		ts.Fatalf("usage: user NAME [FLAGS of gitd keys add]")
	}
	if _, err := cmdKey(w, ts, args[:1]); err != nil {
		return output{}, err
	}
	o, err := cmdGitd(w, ts, append(append([]string{"keys", "add"}, args...), "<", keyFile(ts, args[0])+".pub"))
	if err != nil {
		return o, err
	}
	_, err = cmdAs(w, ts, args[:1])
	return o, err
}

func cmdGit(_ *world, ts *testscript.TestScript, args []string) (output, error) {
	return run(ts, nil, "git", args...)
}

// cmdSSH runs ssh with flags that come before the words of the command, to the server as user git.
func cmdSSH(_ *world, ts *testscript.TestScript, args []string) (output, error) {
	stdin, args := redirected(ts, args)
	return run(ts, stdin, "ssh", sshArgs(ts, args)...)
}

// sshArgs are the arguments with which ssh asks the server.
func sshArgs(ts *testscript.TestScript, args []string) []string {
	i := 0
	for i < len(args) && strings.HasPrefix(args[i], "-") {
		i++
		if i < len(args) && strings.ContainsAny(args[i-1], "oiLRDW") {
			i++
		}
	}
	all := append(append(sshFlags(ts), "-p", ts.Getenv("SSH_PORT")), args[:i]...)
	return append(append(all, "git@127.0.0.1"), args[i:]...)
}

func cmdApp(_ *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 1 && len(args) != 2 {
		ts.Fatalf("usage: app DIR [EXAMPLE]")
	}
	dir := ts.MkAbs(args[0])
	if len(args) == 2 {
		ts.Check(os.CopyFS(dir, os.DirFS(filepath.Join(root, "examples", args[1]))))
	}
	for _, step := range [][]string{
		{"init", "-q", "-b", "main", dir},
		{"-C", dir, "add", "-A"},
		{"-C", dir, "commit", "-q", "-m", "first"},
		{"-C", dir, "remote", "add", "platform", ts.Getenv("REMOTE") + "/" + filepath.Base(dir)},
	} {
		if o, err := run(ts, nil, "git", step...); err != nil {
			ts.Fatalf("git %s: %v\n%s", strings.Join(step, " "), err, o.stderr)
		}
	}
	return output{}, nil
}

// cmdExample makes an example what a repository has, as a commit.
func cmdExample(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 2 {
		ts.Fatalf("usage: example DIR EXAMPLE")
	}
	dir := ts.MkAbs(args[0])
	entries, err := os.ReadDir(dir)
	ts.Check(err)
	for _, e := range entries {
		if e.Name() != ".git" {
			ts.Check(os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	ts.Check(os.CopyFS(dir, os.DirFS(filepath.Join(root, "examples", args[1]))))
	return cmdCommit(w, ts, []string{args[0], args[1]})
}

func cmdCommit(_ *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) == 0 {
		ts.Fatalf("usage: commit DIR [MESSAGE]")
	}
	message := strings.Join(args[1:], " ")
	if message == "" {
		message = "change"
	}
	dir := ts.MkAbs(args[0])
	if o, err := run(ts, nil, "git", "-C", dir, "add", "-A"); err != nil {
		return o, err
	}
	return run(ts, nil, "git", "-C", dir, "commit", "-q", "-m", message)
}

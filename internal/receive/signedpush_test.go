package receive

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/repository"
)

func TestSignedPush(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("signed")
	fx.Git(dir, "config", "gpg.format", "ssh")
	signWith := func(key string) { fx.Git(dir, "config", "user.signingKey", key) }
	push := func(words ...string) string {
		t.Helper()
		out := fx.Git(dir, append([]string{"push", "--signed"}, words...)...)
		fx.live("signed", fx.Git(dir, "rev-parse", "HEAD"))
		return out
	}
	fingerprint := func(key string) string { return gossh.FingerprintSHA256(fx.Signer(key).PublicKey()) }

	t.Run("by the key that pushes", func(t *testing.T) {
		signWith(fx.Key)
		gittest.MustHold(t, push("platform", "main"), "signed by laptop "+fingerprint(fx.Key))
		if s := fx.h.last().Signed; s != "signed by laptop "+fingerprint(fx.Key) {
			t.Error(s)
		}
		fx.Logged("push signed: main ", "deployed, signed by laptop "+fingerprint(fx.Key))
		text, err := os.ReadFile(filepath.Join(fx.bare("signed"), "certificates", fx.Git(dir, "rev-parse", "HEAD")))
		if err != nil {
			t.Fatal(err)
		}
		signed, signature, _ := strings.Cut(string(text), "-----BEGIN SSH")
		file := fx.Write("cert.sig", "-----BEGIN SSH"+signature)
		pub, _ := os.ReadFile(fx.Key + ".pub")
		allowed := fx.Write("allowed", "laptop "+string(pub))
		verify := fx.Cmd(fx.Home, "ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "laptop", "-n", "git", "-s", file) // the oracle
		verify.Stdin = strings.NewReader(signed)
		if out, err := verify.CombinedOutput(); err != nil {
			t.Errorf("what is kept does not verify: %v %s\n%s", err, out, text)
		}
	})
	t.Run("by another registered key, with push options", func(t *testing.T) {
		other := fx.newKey("release", app.Key{Name: "release"})
		signWith(other)
		fx.Commit(dir, "a", "a")
		gittest.MustHold(t, push("-o", "message=a b  c", "platform", "main"), "signed by release "+fingerprint(other))
		if p := fx.h.last(); p.Message != "a b  c" || p.By.Key.Name != "laptop" {
			t.Errorf("%+v", p)
		}
	})
	t.Run("by an unknown key", func(t *testing.T) {
		other := fx.newKey("stranger", app.Key{})
		signWith(other)
		fx.Commit(dir, "b", "b")
		gittest.MustHold(t, push("platform", "main"), "signed with a key that is not registered, "+fingerprint(other))
		if s := fx.h.last().Signed; s != "signed with a key that is not registered, "+fingerprint(other) {
			t.Error(s)
		}
	})
	for _, kind := range [][]string{{"ecdsa", "-b", "384"}, {"rsa", "-b", "3072"}} {
		t.Run(kind[0], func(t *testing.T) {
			key := filepath.Join(fx.Home, "sign-"+kind[0])
			if out, err := exec.Command("ssh-keygen", append([]string{"-q", "-N", "", "-f", key, "-t"}, kind...)...).CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			signWith(key)
			fx.Commit(dir, "kind", kind[0])
			gittest.MustHold(t, push("platform", "main"), "not registered, "+fingerprint(key))
		})
	}
	t.Run("shallow", func(t *testing.T) {
		clone := filepath.Join(t.TempDir(), "clone")
		fx.Git("/", "clone", "-q", "--depth=1", "file://"+dir, clone)
		fx.Git(clone, "config", "gpg.format", "ssh")
		fx.Git(clone, "config", "user.signingKey", fx.Key)
		c := fx.Commit(clone, "c", "c")
		gittest.MustHold(t, fx.Git(clone, "push", "--signed", fx.URL("signed"), "main"), "signed by laptop")
		fx.live("signed", c)
	})
	t.Run("many refs", func(t *testing.T) {
		fx.Git(dir, "fetch", "-q", "platform", "main")
		fx.Git(dir, "reset", "-q", "--hard", "FETCH_HEAD")
		signWith(fx.Key)
		c := fx.Commit(dir, "d", "d")
		fx.Git(dir, "tag", "v1")
		fx.Rejected(dir, []string{"tags are not deployed", "main -> main", "signed by laptop"}, "push", "--signed", "platform", "main", "v1")
		fx.live("signed", c)
	})
	t.Run("not signed", func(t *testing.T) {
		fx.Commit(dir, "e", "e")
		fx.Git(dir, "push", "platform", "main")
		if s := fx.h.last().Signed; s != "" {
			t.Error(s)
		}
	})
}

func TestPusheeName(t *testing.T) {
	for pushee, want := range map[string]string{
		"ssh://host:2222/app": "app", "ssh://git@host/app.git": "app", "host:app": "app", "git@host:/app": "app", "[::1]:app": "app", "app": "app",
		"host:dir/app": "", "ssh://host/dir/app": "", "/srv/git/app": "", "": "", "ssh://host": "", "ssh://ho st/app": "",
	} {
		if got, err := pusheeName(pushee); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", pushee, got, err)
		}
	}
}

// TestForgedPushes changes what a real client signs on its way.
func TestForgedPushes(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("forged")
	c := fx.Git(dir, "rev-parse", "HEAD")
	sign := func(namespace, text string) string {
		f := fx.Write("text", text)
		_ = os.Remove(f + ".sig")
		if out, err := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-f", fx.Key, "-n", namespace, f).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		b, err := os.ReadFile(f + ".sig")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	certificate := func(nonce, option, commit string) string {
		text := "certificate version 0.1\npusher " + fx.Key + " 1700000000 +0000\npushee " + fx.URL("forged") + "\nnonce " + nonce + "\n"
		if option != "" {
			text += "push-option " + option + "\n"
		}
		return text + "\n" + repository.ZeroID + " " + commit + " refs/heads/main\n"
	}
	pack := fx.packOf(dir, c)
	for _, tt := range []struct {
		name string
		make func(nonce string) (text string, options []string)
		want string // "" where it must be accepted
	}{
		{"as it must be", func(n string) (string, []string) {
			text := certificate(n, "message=x", c)
			return text + sign("git", text), []string{"message=x"}
		}, ""},
		{"openpgp", func(n string) (string, []string) {
			return certificate(n, "", c) + "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n", nil
		}, ""},
		{"another nonce", func(n string) (string, []string) {
			text := certificate(strings.Repeat("a", len(n)), "", c)
			return text + sign("git", text), nil
		}, "it was made for another push"},
		{"no nonce", func(string) (string, []string) {
			text := certificate("", "", c)
			return text + sign("git", text), nil
		}, "it was made for another push"},
		{"another repository", func(n string) (string, []string) {
			text := strings.Replace(certificate(n, "", c), fx.URL("forged"), fx.URL("other"), 1)
			return text + sign("git", text), nil
		}, "it was made for another repository, ssh://"},
		{"two repositories", func(n string) (string, []string) {
			text := strings.Replace(certificate(n, "", c), "pushee", "pushee host:other\npushee", 1)
			return text + sign("git", text), nil
		}, "it was made for another repository, host:other"},
		{"another namespace", func(n string) (string, []string) {
			text := certificate(n, "", c)
			return text + sign("file", text), nil
		}, `it was made for "file", not for git`},
		{"another text", func(n string) (string, []string) {
			return certificate(n, "", c) + sign("git", certificate(n, "", strings.Repeat("1", 40))), nil
		}, "it does not match what was pushed"},
		{"other options", func(n string) (string, []string) {
			text := certificate(n, "message=x", c)
			return text + sign("git", text), []string{"message=y"}
		}, "it was made for other push options"},
		{"options that were not signed", func(n string) (string, []string) {
			text := certificate(n, "", c)
			return text + sign("git", text), []string{"message=y"}
		}, "it was made for other push options"},
		{"no signature", func(n string) (string, []string) { return certificate(n, "", c), nil }, "there is no signature"},
		{"no base64", func(n string) (string, []string) {
			return certificate(n, "", c) + "-----BEGIN SSH SIGNATURE-----\n????\n-----END SSH SIGNATURE-----\n", nil
		}, "it cannot be read"},
		{"another version", func(n string) (string, []string) {
			text := strings.Replace(certificate(n, "", c), "0.1", "0.2", 1)
			return text + sign("git", text), nil
		}, "its version is not known"},
		{"two nonces", func(n string) (string, []string) {
			text := strings.Replace(certificate(n, "", c), "nonce", "nonce x\nnonce", 1)
			return text + sign("git", text), nil
		}, "two nonces"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := fx.h.count()
			out := fx.rawPush("forged", func(nonce string) []byte {
				text, options := tt.make(nonce)
				b := pktline.Append(nil, "push-cert\x00report-status push-options\n")
				for line := range strings.SplitAfterSeq(text, "\n") {
					if line != "" {
						b = pktline.Append(b, line)
					}
				}
				b = append(pktline.Append(b, certificateEnd), "0000"...)
				for _, o := range options {
					b = pktline.Append(b, o)
				}
				return append(append(b, "0000"...), pack...)
			})
			if tt.want == "" {
				if fx.h.count() != before+1 || !strings.Contains(out, "ok refs/heads/main") {
					t.Errorf("it was not deployed: %q", out)
				}
				return
			}
			gittest.MustHold(t, out, tt.want)
			if fx.h.count() != before {
				t.Error("it was deployed")
			}
		})
	}
	fx.clean("forged")
}

// packOf packs a commit with all that it leads to.
func (fx *fixture) packOf(dir, commit string) []byte {
	fx.T.Helper()
	c := fx.Cmd(dir, "git", "pack-objects", "--stdout", "--revs", "-q")
	c.Stdin = strings.NewReader(commit + "\n")
	b, err := c.Output()
	if err != nil {
		fx.T.Fatal(err)
	}
	return b
}

// rawPush sends what request makes of the server's nonce, and returns what the server says, on both streams.
func (fx *fixture) rawPush(name string, request func(nonce string) []byte) string {
	fx.T.Helper()
	client := fx.Dial()
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		fx.T.Fatal(err)
	}
	in, _ := session.StdinPipe()
	out, _ := session.StdoutPipe()
	var complaint strings.Builder
	session.Stderr = &complaint
	if err := session.Start("git-receive-pack '" + name + "'"); err != nil {
		fx.T.Fatal(err)
	}
	r := &pktline.Reader{R: out}
	nonce := ""
	for {
		line, err := r.Line()
		if errors.Is(err, pktline.ErrFlush) {
			break
		}
		if err != nil {
			fx.T.Fatal(err)
		}
		if _, n, ok := strings.Cut(string(line), " push-cert="); ok {
			nonce, _, _ = strings.Cut(n, " ")
		}
	}
	if nonce == "" {
		fx.T.Fatal("no nonce is offered")
	}
	_, _ = in.Write(request(nonce))
	var said strings.Builder
	for {
		line, err := r.Line()
		if err != nil && err != pktline.ErrFlush {
			break
		}
		said.Write(line)
		said.WriteByte('\n')
	}
	_ = in.Close()
	_ = session.Wait()
	return said.String() + complaint.String()
}

func FuzzParseCertificate(f *testing.F) {
	f.Add("certificate version 0.1\npusher a\npushee b\nnonce c\npush-option d\n\n" + repository.ZeroID + " " + repository.ZeroID + " refs/heads/main\n-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCertificate(text)
		if err != nil {
			return
		}
		if c.signed+c.signature != text || len(c.commands) == 0 {
			t.Errorf("%+v", c)
		}
		_, _ = verifySSH(c.signature, []byte(c.signed))
	})
}

package receive

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/sshd"
)

// A signed push (git push --signed) carries a certificate: what is pushed where, by whom, signed (gitformat-signature, gitprotocol-pack).
// It holds a nonce that we gave out for this very conversation, so that it cannot be sent again.

const (
	certificateEnd     = "push-cert-end\n"
	maxCertificate     = 256 << 10 // bytes
	signatureNamespace = "git"     // what the signature is for (PROTOCOL.sshsig)
)

// Signature is who signed a push.
type Signature struct {
	Key         string // name of the registered key; "" where it is not registered, or not checked
	Fingerprint string // of the key; "" where not checked
	Kind        string // "ssh", "openpgp" or "x509"; only ssh is checked
}

// String says it in a few words.
func (s *Signature) String() string {
	switch {
	case s.Kind != "ssh":
		return "signed with " + s.Kind + ", which is not checked"
	case s.Key == "":
		return "signed with a key that is not registered, " + s.Fingerprint
	}
	return "signed by " + s.Key + " " + s.Fingerprint
}

// pushCertificate is what was signed, and by what.
type pushCertificate struct {
	text      string // all of it
	signed    string // the part that is signed
	signature string // in its armour
	nonce     string
	pushees   []string // where it was pushed to, as the client names it; git leaves it out where it does not know
	options   []string
	commands  []string
}

// newNonce returns one for this conversation: as both ends of it are the same all the time, nothing needs to be derived from secrets and clocks.
func newNonce() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// readCertificate reads what follows a packet "push-cert".
func readCertificate(p *pktline.Reader) (*pushCertificate, error) {
	var text strings.Builder
	for {
		line, err := p.Next()
		if err != nil {
			return nil, fmt.Errorf("%w: the push certificate ends early", pktline.ErrProtocol)
		}
		if string(line) == certificateEnd {
			return parseCertificate(text.String())
		}
		if text.Len()+len(line) > maxCertificate {
			return nil, fmt.Errorf("%w: the push certificate is longer than %s", pktline.ErrProtocol, app.Size(maxCertificate))
		}
		text.Write(line)
	}
}

// signatureKinds are the first lines of signatures, and what they are.
var signatureKinds = map[string]string{
	"-----BEGIN SSH SIGNATURE-----": "ssh", "-----BEGIN PGP SIGNATURE-----": "openpgp", "-----BEGIN PGP MESSAGE-----": "openpgp",
	"-----BEGIN SIGNED MESSAGE-----": "x509",
}

func parseCertificate(text string) (*pushCertificate, error) {
	bad := func(why string) (*pushCertificate, error) {
		return nil, fmt.Errorf("%w: push certificate: %s", pktline.ErrProtocol, why)
	}
	c := &pushCertificate{text: text}
	const inHead, inCommands = 0, 1
	part, at, versions := inHead, 0, 0
	for line := range strings.SplitAfterSeq(text, "\n") {
		l := strings.TrimSuffix(line, "\n")
		if _, ok := signatureKinds[l]; ok {
			c.signed, c.signature = text[:at], text[at:]
			break
		}
		at += len(line)
		switch {
		case part == inHead && l == "":
			part = inCommands
		case part == inHead:
			key, value, _ := strings.Cut(l, " ")
			switch key {
			case "certificate":
				if versions++; value != "version 0.1" {
					return bad("its version is not known")
				}
			case "nonce":
				if c.nonce != "" {
					return bad("two nonces")
				}
				c.nonce = value
			case "pushee":
				c.pushees = append(c.pushees, value)
			case "push-option":
				c.options = append(c.options, value)
			}
		default:
			c.commands = append(c.commands, l)
		}
	}
	switch {
	case c.signature == "":
		return bad("there is no signature")
	case versions != 1 || part != inCommands || len(c.commands) == 0:
		return bad("it cannot be read")
	}
	return c, nil
}

// verify says who signed the push. It fails where the certificate is not for this push, or the signature is not good; a signature of another kind
// than ssh's is noted, and not checked.
func (p *push) verify(ctx context.Context, c *pushCertificate) (*Signature, error) {
	refuse := func(next, format string, args ...any) (*Signature, error) {
		return nil, app.Errorf(app.CodeForbidden, next, "the push's signature is not accepted: "+format, args...)
	}
	if c.nonce != p.nonce {
		return refuse("push again", "it was made for another push")
	}
	for _, to := range c.pushees {
		if name, err := pusheeName(to); err != nil || name != p.name {
			return refuse("push again", "it was made for another repository, %s", app.Plain(app.Clip(to, 100)))
		}
	}
	if !slices.Equal(c.options, p.request.options) {
		return refuse("push again", "it was made for other push options")
	}
	first, _, _ := strings.Cut(c.signature, "\n")
	s := &Signature{Kind: signatureKinds[first]}
	if s.Kind != "ssh" {
		return s, nil
	}
	key, err := verifySSH(c.signature, []byte(c.signed))
	if err != nil {
		return refuse("see how your git signs: git config gpg.format, user.signingKey", "%w", err)
	}
	id := sshd.IdentityOf(key)
	s.Fingerprint = id.String()
	known, err := p.ss.Identify(ctx, id)
	switch code := app.CodeOf(err); {
	case err == nil:
		s.Key = known.Name
	case code != app.CodeNotFound && code != app.CodeForbidden:
		return nil, err
	}
	return s, nil
}

// pusheeName returns the app that a client's name for the repository stands for: ssh://HOST/APP, HOST:APP. Which host that is only
// the client knows.
func pusheeName(pushee string) (string, error) {
	if strings.Contains(pushee, "://") {
		u, err := url.Parse(pushee)
		if err != nil {
			return "", err
		}
		return parseName(u.Path)
	}
	return parseName(pushee[strings.LastIndexByte(pushee, ':')+1:])
}

// signatureBlob is an SSH signature without its armour, and toBeSigned what it is made over (OpenSSH, PROTOCOL.sshsig).
type (
	signatureBlob struct {
		Version   uint32
		Key       []byte
		Namespace string
		Reserved  string
		Hash      string
		Signature []byte
	}
	toBeSigned struct {
		Namespace, Reserved, Hash string
		Digest                    []byte
	}
)

const (
	signatureMagic = "SSHSIG"
	signatureBegin = "-----BEGIN SSH SIGNATURE-----\n"
	signatureEnd   = "\n-----END SSH SIGNATURE-----"
)

// verifySSH checks an SSH signature in its armour, and returns the key that it was made with.
func verifySSH(armoured string, message []byte) (gossh.PublicKey, error) {
	text, ok := strings.CutPrefix(strings.ReplaceAll(armoured, "\r", ""), signatureBegin)
	text, ok2 := strings.CutSuffix(strings.TrimRight(text, "\n"), signatureEnd)
	if !ok || !ok2 {
		return nil, errors.New("it cannot be read")
	}
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "\n", ""))
	if err != nil || !bytes.HasPrefix(raw, []byte(signatureMagic)) {
		return nil, errors.New("it cannot be read")
	}
	var blob signatureBlob
	if err := gossh.Unmarshal(raw[len(signatureMagic):], &blob); err != nil || blob.Version != 1 {
		return nil, errors.New("it cannot be read, or is of a version that is not known")
	}
	if blob.Namespace != signatureNamespace {
		return nil, fmt.Errorf("it was made for %q, not for git", app.Plain(app.Clip(blob.Namespace, 40)))
	}
	key, err := gossh.ParsePublicKey(blob.Key)
	if err != nil {
		return nil, errors.New("its key cannot be read")
	}
	if err := sshd.CheckKey(key); err != nil {
		return nil, err
	}
	var digest []byte
	switch blob.Hash {
	case "sha256":
		d := sha256.Sum256(message)
		digest = d[:]
	case "sha512":
		d := sha512.Sum512(message)
		digest = d[:]
	default:
		return nil, errors.New("its hash is not known")
	}
	var signature gossh.Signature
	if err := gossh.Unmarshal(blob.Signature, &signature); err != nil {
		return nil, errors.New("it cannot be read")
	}
	if !slices.Contains(sshd.KeyAlgorithms, signature.Format) {
		return nil, fmt.Errorf("signatures of the kind %q are not accepted", app.Plain(app.Clip(signature.Format, 40)))
	}
	signed := append([]byte(signatureMagic), gossh.Marshal(toBeSigned{blob.Namespace, blob.Reserved, blob.Hash, digest})...)
	if err := key.Verify(signed, &signature); err != nil {
		return nil, errors.New("it does not match what was pushed")
	}
	return key, nil
}

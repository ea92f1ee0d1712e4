package app

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A preview is an app of its own, called SLUG--APP: what runs of a branch of the app APP.
const (
	// PreviewMark is between a branch and its app in the name of a preview. No other app may have it in its name.
	PreviewMark = "--"
	// MaxPreviewNameLength is the longest name of a preview in bytes. It leaves room for "-v" and a release number of eight digits in a revision's name.
	MaxPreviewNameLength = 53
	// MaxBranchLength is the longest name of a branch that makes a preview, in bytes.
	MaxBranchLength = 200
)

// hashLength is how many hex digits tell apart what has the same slug.
const hashLength = 6

// PreviewName names the preview of a branch of an app: "feature-x--hello" for feature/x. A branch that leaves nothing readable, and one that is too long, end in a
// hash of the branch; unique has the hash in any case: another branch has the plain name.
func PreviewName(name, branch string, unique bool) string {
	slug, hash := slug(branch), hashOf(branch)
	room := MaxPreviewNameLength - len(PreviewMark) - len(name)
	switch {
	case slug == "":
		slug = "b-" + hash
	case unique || len(slug) > room:
		slug = strings.TrimRight(slug[:min(len(slug), room-1-hashLength)], "-") + "-" + hash
	}
	return slug + PreviewMark + name
}

// slug is a branch in lower-case letters, digits and single dashes, beginning with a letter. Letters lose their accents.
func slug(branch string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(branch) {
		switch r = unicode.ToLower(r); {
		case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r): // an accent
		default:
			b.WriteByte('-')
		}
	}
	words := strings.FieldsFunc(b.String(), func(r rune) bool { return r == '-' })
	s := strings.Join(words, "-")
	if s != "" && s[0] <= '9' {
		s = "b-" + s
	}
	return s
}

func hashOf(branch string) string {
	sum := sha256.Sum256([]byte(branch))
	return hex.EncodeToString(sum[:])[:hashLength]
}

// CheckBranch returns an *Error with code CodeInvalidName if a branch cannot make a preview: by the rules of git for names of refs, in printable text, and not
// within main or master.
func CheckBranch(branch string) error {
	why := ""
	switch first, _, _ := strings.Cut(branch, "/"); {
	case len(branch) > MaxBranchLength:
		why = "it is longer than 200 bytes"
	case Plain(branch) != branch || strings.ContainsAny(branch, "\t \u00a0~^:?*[\\\ufffd"):
		why = "it has characters that git does not allow there, or that cannot be printed"
	case first == "main" || first == "master":
		why = "main and master are what is live"
	case branch == "" || strings.Contains(branch, "..") || strings.Contains(branch, "@{") || branch == "@" || strings.HasSuffix(branch, "."):
		why = "git does not allow such a name"
	}
	for part := range strings.SplitSeq(branch, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			why = "git does not allow such a name"
		}
	}
	if why != "" {
		return Errorf(CodeInvalidName, "push it under another name: git push platform HEAD:refs/heads/my-branch", "the branch %q makes no preview: %s", Plain(Clip(branch, 60)), why)
	}
	return nil
}

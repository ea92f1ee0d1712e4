package fsck

import (
	"bytes"
	"unicode/utf8"
)

// Two file systems take more than one spelling for a name. HFS+ ignores case and some code points; NTFS ignores case,
// spaces and dots at the end and what follows a colon, and has short names.

// hfsIgnored says whether HFS+ looks past a code point.
func hfsIgnored(r rune) bool {
	return r >= 0x200c && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x206a && r <= 0x206f || r == 0xfeff
}

// hfsName says whether HFS+ takes name for ".want"; want is lower-case ASCII.
func hfsName(name []byte, want string) bool {
	next := func() rune {
		for len(name) > 0 {
			r, n := utf8.DecodeRune(name)
			if r == utf8.RuneError && n <= 1 {
				name = nil
				return -1
			}
			name = name[n:]
			if !hfsIgnored(r) {
				return r
			}
		}
		return 0
	}
	if next() != '.' {
		return false
	}
	for i := range len(want) {
		if r := next(); r > 127 || r < 0 || lower(byte(r)) != want[i] {
			return false
		}
	}
	r := next()
	return r <= 0 || r == '/' // git takes malformed UTF-8 for the end
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// ntfsDotGit says whether NTFS takes name, up to a separator, for ".git" or its short name.
func ntfsDotGit(name []byte) bool {
	rest, ok := cutFold(name, ".git")
	if !ok {
		if rest, ok = cutFold(name, "git~1"); !ok {
			return false
		}
	}
	for _, c := range rest {
		switch c {
		case '/', '\\', ':':
			return true
		case '.', ' ':
		default:
			return false
		}
	}
	return true
}

// ntfsName says whether NTFS takes name for ".want". short is how its short names begin once four others are taken.
func ntfsName(name []byte, want, short string) bool {
	if rest, ok := cutFold(name, "."+want); ok {
		return ntfsEnd(rest)
	}
	if rest, ok := cutFold(name, want[:6]+"~"); ok && len(rest) > 0 && rest[0] >= '1' && rest[0] <= '4' {
		return ntfsEnd(rest[1:])
	}
	if len(name) < 8 {
		return false
	}
	tilde := bytes.IndexByte(name[:7], '~')
	if tilde < 0 {
		return false
	}
	if _, ok := cutFold(name[:tilde], short[:tilde]); !ok || name[tilde+1] < '1' || name[tilde+1] > '9' {
		return false
	}
	for i := tilde + 2; i < 8; i++ {
		if name[i] < '0' || name[i] > '9' {
			return false
		}
	}
	return ntfsEnd(name[8:])
}

// ntfsEnd says whether NTFS looks past what is left of a name.
func ntfsEnd(rest []byte) bool {
	for _, c := range rest {
		if c == ':' {
			return true
		}
		if c != ' ' && c != '.' {
			return false
		}
	}
	return true
}

// cutFold cuts a prefix in lower-case ASCII, whatever the case of name.
func cutFold(name []byte, prefix string) ([]byte, bool) {
	if len(name) < len(prefix) {
		return nil, false
	}
	for i := range len(prefix) {
		if lower(name[i]) != prefix[i] {
			return nil, false
		}
	}
	return name[len(prefix):], true
}

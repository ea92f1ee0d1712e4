package fsck

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
)

// Commit checks a commit.
func (c *Checker) Commit(data []byte, v Visitor) error {
	if err := c.headers(data); err != nil {
		return err
	}
	var id [idSize]byte
	rest, ok := bytes.CutPrefix(data, []byte("tree "))
	if !ok {
		return &Problem{"missingTree", "invalid format - expected 'tree' line"}
	}
	if rest, ok = cutID(rest, &id); !ok {
		return &Problem{"badTreeSha1", "invalid 'tree' line format - bad sha1"}
	}
	v.Link(Tree, id[:])
	for bytes.HasPrefix(rest, []byte("parent ")) {
		if rest, ok = cutID(rest[len("parent "):], &id); !ok {
			return &Problem{"badParentSha1", "invalid 'parent' line format - bad sha1"}
		}
		v.Link(Parent, id[:])
	}
	authors := 0
	for bytes.HasPrefix(rest, []byte("author ")) {
		authors++
		var err error
		if rest, err = c.person(rest[len("author "):]); err != nil {
			return err
		}
	}
	var err error
	switch {
	case authors < 1:
		err = c.problem("missingAuthor", "invalid format - expected 'author' line")
	case authors > 1:
		err = c.problem("multipleAuthors", "invalid format - multiple 'author' lines")
	}
	if err != nil {
		return err
	}
	if rest, ok = bytes.CutPrefix(rest, []byte("committer ")); !ok {
		return c.problem("missingCommitter", "invalid format - expected 'committer' line")
	}
	if _, err := c.person(rest); err != nil {
		return err
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return c.problem("nulInCommit", "NUL byte in the commit object body")
	}
	return nil
}

// tagged are the types of tagged objects.
var tagged = map[string]Kind{"commit": Commit, "tree": Tree, "blob": Blob, "tag": Tag}

// Tag checks an annotated tag.
func (c *Checker) Tag(data []byte, v Visitor) error {
	if err := c.headers(data); err != nil {
		return err
	}
	var id [idSize]byte
	rest, ok := bytes.CutPrefix(data, []byte("object "))
	if !ok {
		return &Problem{"missingObject", "invalid format - expected 'object' line"}
	}
	if rest, ok = cutID(rest, &id); !ok {
		return &Problem{"badObjectSha1", "invalid 'object' line format - bad sha1"}
	}
	if rest, ok = bytes.CutPrefix(rest, []byte("type ")); !ok {
		return &Problem{"missingTypeEntry", "invalid format - expected 'type' line"}
	}
	line, rest, ok := bytes.Cut(rest, []byte("\n"))
	if !ok {
		return &Problem{"missingType", "invalid format - unexpected end after 'type' line"}
	}
	kind, ok := tagged[string(line)]
	if !ok {
		return &Problem{"badType", "invalid 'type' value"}
	}
	v.Link(kind, id[:])
	if rest, ok = bytes.CutPrefix(rest, []byte("tag ")); !ok {
		return c.problem("missingTagEntry", "invalid format - expected 'tag' line")
	}
	if _, rest, ok = bytes.Cut(rest, []byte("\n")); !ok {
		return c.problem("missingTag", "invalid format - unexpected end after 'type' line")
	}
	if rest, ok = bytes.CutPrefix(rest, []byte("tagger ")); ok { // very old tags have none
		if _, err := c.person(rest); err != nil {
			return err
		}
	}
	return nil
}

// headers checks that there is an end to the headers, and no NUL in them.
func (c *Checker) headers(data []byte) error {
	head, _, ok := bytes.Cut(data, []byte("\n\n"))
	if i := bytes.IndexByte(head, 0); i >= 0 {
		return &Problem{"nulInHeader", fmt.Sprintf("unterminated header: NUL at offset %d", i)}
	}
	if ok || len(data) > 0 && data[len(data)-1] == '\n' {
		return nil
	}
	return &Problem{"unterminatedHeader", "unterminated header"}
}

// cutID reads an object id in hex and the end of its line.
func cutID(b []byte, id *[idSize]byte) (rest []byte, ok bool) {
	if len(b) < 2*idSize+1 || b[2*idSize] != '\n' {
		return nil, false
	}
	_, err := hex.Decode(id[:], b[:2*idSize])
	return b[2*idSize+1:], err == nil
}

// person checks "Name <mail> seconds zone", and returns what follows the line.
func (c *Checker) person(b []byte) (rest []byte, err error) {
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	s := string(line)
	fail := func(id, text string) ([]byte, error) {
		return rest, c.problem(id, "invalid author/committer line - "+text)
	}
	at := strings.IndexAny(s, "<>")
	switch {
	case strings.HasPrefix(s, "<"):
		return fail("missingNameBeforeEmail", "missing space before email")
	case at >= 0 && s[at] == '>':
		return fail("badName", "bad name")
	case at < 0:
		return fail("missingEmail", "missing email")
	case s[at-1] != ' ':
		return fail("missingSpaceBeforeEmail", "missing space before email")
	}
	s = s[at+1:]
	at = strings.IndexAny(s, "<>")
	if at < 0 || s[at] != '>' {
		return fail("badEmail", "bad email")
	}
	s, ok := strings.CutPrefix(s[at+1:], " ")
	if !ok {
		return fail("missingSpaceBeforeDate", "missing space before date")
	}
	if len(s) > 0 && s[0] == '0' && !strings.HasPrefix(s, "0 ") {
		return fail("zeroPaddedDate", "zero-padded date")
	}
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if len(strings.TrimLeft(s[:digits], "0")) > 19 || digits == 19 && s[:19] > "9223372036854775807" {
		return fail("badDateOverflow", "date causes integer overflow")
	}
	if digits == 0 || !strings.HasPrefix(s[digits:], " ") {
		return fail("badDate", "bad date")
	}
	zone := s[digits+1:]
	if len(zone) != 5 || zone[0] != '+' && zone[0] != '-' || strings.Trim(zone[1:], "0123456789") != "" || len(rest) == 0 && b[len(b)-1] != '\n' {
		return fail("badTimezone", "bad time zone")
	}
	return rest, nil
}

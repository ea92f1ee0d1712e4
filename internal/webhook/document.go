package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// document is the JSON object of a request.
type document map[string]json.RawMessage

// readDocument reads the body of a request whose proof fits.
func readDocument(body []byte) (document, error) {
	var d document
	if err := json.Unmarshal(body, &d); err != nil || d == nil {
		return nil, refuse("the body is not a JSON object")
	}
	return d, nil
}

// at returns the text, the number or the truth value at a path such as "repository.url"; "" for anything else. Of several paths, with spaces between, it is the first
// at which there is something.
func (d document) at(paths string) string {
	for path := range strings.FieldsSeq(paths) {
		if s := d.value(path); s != "" {
			return s
		}
	}
	return ""
}

func (d document) value(path string) string {
	for {
		name, rest, more := strings.Cut(path, ".")
		raw := d[name]
		if !more {
			return scalar(raw)
		}
		var inner document
		if json.Unmarshal(raw, &inner) != nil {
			return ""
		}
		d, path = inner, rest
	}
}

// maxScalar is the longest value that is taken for an attribute, in bytes.
const maxScalar = 1024

func scalar(raw json.RawMessage) string {
	if len(raw) == 0 || len(raw) > 2*maxScalar {
		return ""
	}
	s := string(raw)
	switch s[0] {
	case '"':
		if json.Unmarshal(raw, &s) != nil {
			return ""
		}
	case '{', '[', 'n': // null
		return ""
	}
	return attribute(s)
}

// attribute is a text as the attribute of an event can have it; "" for one that it cannot.
func attribute(s string) string {
	if len(s) > maxScalar || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }) {
		return ""
	}
	return s
}

// time returns the first of the times at these paths, as RFC 3339; else now.
func (d document) time(paths string, now time.Time) string {
	for path := range strings.FieldsSeq(paths) {
		s := d.value(path)
		if _, err := time.Parse(time.RFC3339, s); err == nil {
			return s
		}
		if t, err := seconds(s); err == nil {
			return t.UTC().Format(time.RFC3339)
		}
	}
	return now.UTC().Format(time.RFC3339Nano)
}

// kind is a word of the sender as it stands in the type of an event: of letters, digits, "_" and "-", with dots.
func kind(s string) string {
	if len(s) > 200 || strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.' && r != '/' && r != ':'
	}) {
		return ""
	}
	return s
}

// identity names a body whose sender gives it no name: what is sent again has the same.
func identity(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:16])
}

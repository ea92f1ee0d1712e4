package dataplane

import "bytes"

// field is one of a message's header fields, where it stands in a buffer. The name is in its canonical form.
type field struct{ name, value []byte }

// head is how a message begins: what its header says of the message itself, and the fields. It is filled by a parser that knows no doubtful case: what is
// not plain is left to net/http.
type head struct {
	fields  []field
	length  int64 // of the body, as Content-Length has it; -1 without one
	chunked bool  // Transfer-Encoding: chunked
	close   bool  // Connection: close
	has     special
	host    []byte // of a request

	status int // of a response
}

// special are the fields that a head has.
type special uint32

const (
	hasHost special = 1 << iota
	hasLength
	hasEncoding
	hasConnection
	hasDate
	hasType
	hasSecurity  // Strict-Transport-Security
	hasCache     // Cache-Control
	hasPragma    // to which net/http adds a Cache-Control
	hasOther     // a field that changes what the message means: Upgrade, Expect, Trailer, Te and their kin
	hasHop       // a field that goes no further, and means nothing else
	hasGRPC      // Grpc-Status
	hasForwarded // a field in which proxies describe the client
)

// end returns the length of a head, or 0 where b does not have its end yet. from is how much of b was looked at before.
func end(b []byte, from int) int {
	from = max(0, from-3)
	if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4
	}
	return 0
}

// bareLF says whether a line ends without a CR, in what comes behind the first octets. An end of the head that is spelled so would be waited for in vain.
func bareLF(b []byte, from int) bool {
	for i := from; i < len(b); i++ {
		if b[i] == '\n' && (i == 0 || b[i-1] != '\r') {
			return true
		}
	}
	return false
}

// isToken are the octets of names and methods: RFC 9110, 5.6.2.
var isToken = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return t
}()

// isText are the octets of values: RFC 9110, 5.5.
var isText = func() (t [256]bool) {
	for c := range 256 {
		t[c] = c >= ' ' && c != 0x7f || c == '\t'
	}
	return t
}()

// parseFields reads the lines of b, up to the empty one at its end. It puts names into their canonical form where they stand. It returns false for what is not
// plain.
func (h *head) parseFields(b []byte) bool { return h.read(b, true) }

// parseTrailers reads lines that follow a body: they say nothing of the message itself, whatever their names are.
func (h *head) parseTrailers(b []byte) bool { return h.read(b, false) }

func (h *head) read(b []byte, note bool) bool {
	h.fields, h.length, h.has, h.chunked, h.close, h.host = h.fields[:0], -1, 0, false, false, nil
	for len(b) > 2 {
		i, upper := 0, true
		for ; i < len(b) && isToken[b[i]]; i++ {
			switch c := b[i]; {
			case upper && 'a' <= c && c <= 'z':
				b[i] = c - ('a' - 'A')
			case !upper && 'A' <= c && c <= 'Z':
				b[i] = c + ('a' - 'A')
			}
			upper = b[i] == '-'
		}
		if i == 0 || i == len(b) || b[i] != ':' {
			return false
		}
		name := b[:i]
		b = b[i+1:]
		i = 0
		for i < len(b) && isText[b[i]] {
			i++
		}
		if i+1 >= len(b) || b[i] != '\r' || b[i+1] != '\n' {
			return false
		}
		f := field{name, trim(b[:i])}
		b = b[i+2:]
		if note && !h.note(f) {
			return false
		}
		h.fields = append(h.fields, f)
	}
	return len(b) == 2 && b[0] == '\r' && b[1] == '\n'
}

// trim removes white space around a value.
func trim(v []byte) []byte {
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for len(v) > 0 && (v[len(v)-1] == ' ' || v[len(v)-1] == '\t') {
		v = v[:len(v)-1]
	}
	return v
}

// specials are the names that note looks for.
var specials = map[string]special{
	"Host": hasHost, "Content-Length": hasLength, "Transfer-Encoding": hasEncoding, "Connection": hasConnection, "Date": hasDate, "Content-Type": hasType,
	"Strict-Transport-Security": hasSecurity, "Cache-Control": hasCache, "Pragma": hasPragma, "Grpc-Status": hasGRPC,
	"Upgrade": hasOther, "Expect": hasOther, "Trailer": hasOther, "Te": hasOther, "Proxy-Authenticate": hasOther, "Proxy-Authorization": hasOther,
	"Http2-Settings": hasOther, "Keep-Alive": hasHop, "Proxy-Connection": hasHop,
}

// note takes in what a field says of the message. It returns false where that is not plain.
func (h *head) note(f field) bool {
	s := specials[string(f.name)]
	switch s {
	case 0:
		return true
	case hasHost:
		if h.has&hasHost != 0 || !plainHost(f.value) {
			return false
		}
		h.host = f.value
	case hasLength:
		n, ok := decimal(f.value)
		if h.has&hasLength != 0 || !ok {
			return false
		}
		h.length = n
	case hasEncoding:
		if h.has&hasEncoding != 0 || !is(f.value, "chunked") {
			return false
		}
		h.chunked = true
	case hasConnection:
		switch {
		case h.has&hasConnection != 0:
			return false
		case is(f.value, "close"):
			h.close = true
		case !is(f.value, "keep-alive"):
			return false // it names others
		}
	}
	h.has |= s
	return true
}

// is says whether v is a word, which is in lower case; v may have others.
func is(v []byte, word string) bool {
	if len(v) != len(word) {
		return false
	}
	for i := range v {
		c := v[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// decimal reads a length.
func decimal(v []byte) (n int64, ok bool) {
	if len(v) == 0 || len(v) > 18 {
		return 0, false
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// plainHost says whether a Host is a name or an IPv4 address, with a port or without one.
func plainHost[T string | []byte](v T) bool {
	digits := -1 // after a colon
	for i := range len(v) {
		switch c := v[i]; {
		case '0' <= c && c <= '9':
			if digits >= 0 {
				digits++
			}
		case digits >= 0:
			return false
		case c == ':' && i > 0:
			digits = 0
		case !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '.' || c == '_'):
			return false
		}
	}
	return len(v) > 0 && len(v) <= 260 && digits != 0 && digits <= 5
}

// plainTarget says whether a request target is a path, with a query or without one, that net/http takes and an app gets as it is.
func plainTarget[T string | []byte](v T) bool {
	if len(v) == 0 || v[0] != '/' || len(v) > 1 && v[1] == '/' {
		return false
	}
	query := false
	for i := range len(v) {
		switch c := v[i]; {
		case c <= ' ' || c >= 0x7f:
			return false
		case c == '?':
			query = true
		case c == '%' && !query:
			if i+2 >= len(v) || !isHex(v[i+1]) || !isHex(v[i+2]) {
				return false
			}
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// parseResponse reads a response's head. It returns false for what is not plain: another version than HTTP/1.1, an interim response, a change of protocols,
// announced trailers.
func (h *head) parseResponse(b []byte) bool {
	const begin = "HTTP/1.1 "
	i := bytes.IndexByte(b, '\n')
	if i < len(begin)+4 || string(b[:len(begin)]) != begin || b[i-1] != '\r' {
		return false
	}
	line := b[len(begin) : i-1]
	status, ok := decimal(line[:3])
	if !ok || status < 200 || status > 599 || len(line) > 3 && line[3] != ' ' {
		return false
	}
	for _, c := range line[3:] {
		if !isText[c] {
			return false
		}
	}
	h.status = int(status)
	return h.parseFields(b[i+1:]) && h.has&(hasOther|hasGRPC|hasHost) == 0 && !(h.chunked && h.length >= 0) && (h.has&hasPragma == 0 || h.has&hasCache != 0)
}

// bodyless says whether a response to a request has no body, whatever its header says.
func (h *head) bodyless(toHEAD bool) bool {
	return toHEAD || h.status == 204 || h.status == 304
}

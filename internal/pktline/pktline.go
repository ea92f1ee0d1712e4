// Package pktline reads and writes the packets that git's protocols are made of (gitprotocol-common): four hexadecimal digits of length,
// then the content.
package pktline

import (
	"errors"
	"fmt"
	"io"
)

// Max is the longest packet in bytes, its length included; MaxContent is what then remains.
const (
	Max        = 65520
	MaxContent = Max - 4
)

// What Next returns for packets that hold nothing.
var (
	ErrFlush = errors.New("flush packet")     // 0000
	ErrDelim = errors.New("delimiter packet") // 0001
)

// ErrProtocol is in the chain of the error for what is no packet.
var ErrProtocol = errors.New("protocol error")

// Reader reads packets, and never more than the packet it was asked for. It holds one packet and nothing else, whatever the length
// that a client claims.
type Reader struct {
	R   io.Reader
	buf [Max]byte
}

// Next returns the content of the next packet; the bytes are good until the next call. It returns ErrFlush and ErrDelim for those,
// io.EOF at a clean end, and an error that wraps ErrProtocol for what is no packet.
func (p *Reader) Next() ([]byte, error) {
	if _, err := io.ReadFull(p.R, p.buf[:4]); err != nil {
		if err == io.ErrUnexpectedEOF {
			return nil, fmt.Errorf("%w: the connection ended in the middle of a packet", ErrProtocol)
		}
		return nil, err
	}
	n := 0
	for _, c := range p.buf[:4] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | int(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | int(c-'A'+10)
		default:
			return nil, fmt.Errorf("%w: bad packet length %q", ErrProtocol, p.buf[:4])
		}
	}
	switch {
	case n == 0:
		return nil, ErrFlush
	case n == 1:
		return nil, ErrDelim
	case n < 4 || n > Max:
		return nil, fmt.Errorf("%w: bad packet length %d", ErrProtocol, n)
	}
	b := p.buf[:n-4]
	if _, err := io.ReadFull(p.R, b); err != nil {
		if err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, err
		}
		return nil, fmt.Errorf("%w: the connection ended in the middle of a packet", ErrProtocol)
	}
	return b, nil
}

// Line is Next without the newline that may end a packet of text.
func (p *Reader) Line() ([]byte, error) {
	b, err := p.Next()
	if len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return b, err
}

// Append adds s as one packet to b. What is longer than a packet is cut off.
func Append[T string | []byte](b []byte, s T) []byte {
	if len(s) > MaxContent {
		s = s[:MaxContent]
	}
	return append(fmt.Appendf(b, "%04x", len(s)+4), s...)
}

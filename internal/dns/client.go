// Package dns is as much of the DNS as domains need: a client that asks a resolver for records of any type, and a server that answers for the challenges of
// certificates.
package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TypeCAA is the type of records that say who may issue certificates: RFC 8659.
const TypeCAA = dnsmessage.Type(257)

// Client asks resolvers. The zero value asks the system's, as /etc/resolv.conf names them at each question.
type Client struct {
	Server string // host:port; "" for the system's
}

// Answer is what a resolver says to one question.
type Answer struct {
	Records  []Record
	NotFound bool // there is no such name
}

// Record is one record of an answer.
type Record struct {
	Name  string // without the dot at its end
	Type  dnsmessage.Type
	Value string // an address, a name without its last dot, a text; of other types the bytes
}

// Of returns the values of the records of one type.
func (a *Answer) Of(t dnsmessage.Type) []string {
	var all []string
	for _, r := range a.Records {
		if r.Type == t {
			all = append(all, r.Value)
		}
	}
	return all
}

// attempt is how long one resolver has for one answer.
const attempt = 2 * time.Second

// Query asks for the records of a name. It fails where no resolver answers, or the one that does cannot find out.
func (c *Client) Query(ctx context.Context, name string, t dnsmessage.Type) (*Answer, error) {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, fmt.Errorf("%q is not a name", name)
	}
	servers := []string{c.Server}
	if c.Server == "" {
		servers = system("/etc/resolv.conf")
	}
	for range 2 {
		for _, server := range servers {
			var a *Answer
			if a, err = ask(ctx, server, dnsmessage.Question{Name: n, Type: t, Class: dnsmessage.ClassINET}); err == nil {
				return a, nil
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		}
	}
	return nil, err
}

// system are the resolvers that a resolv.conf names.
func system(file string) []string {
	var all []string
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" || len(all) == 3 {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			all = append(all, netip.AddrPortFrom(a, 53).String())
		}
	}
	if len(all) == 0 {
		all = []string{"127.0.0.1:53"}
	}
	return all
}

// ask puts one question to one resolver, over TCP where the answer is too long for a datagram.
func ask(ctx context.Context, server string, q dnsmessage.Question) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: uint16(rand.Uint32()), RecursionDesired: true}, Questions: []dnsmessage.Question{q}}
	out, err := m.Pack()
	if err != nil {
		return nil, err
	}
	for _, network := range []string{"udp", "tcp"} {
		in, err := exchange(ctx, network, server, out, m.ID)
		if err != nil {
			return nil, fmt.Errorf("the resolver %s does not answer: %w", server, err)
		}
		a, truncated, err := read(in, m.ID, q)
		if err != nil || !truncated {
			return a, err
		}
	}
	return nil, errors.New("the answer is cut off")
}

func exchange(ctx context.Context, network, server string, out []byte, id uint16) ([]byte, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if network == "tcp" {
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return nil, err
		}
		return readFrame(c)
	}
	if _, err := c.Write(out); err != nil {
		return nil, err
	}
	in := make([]byte, 4096)
	for {
		n, err := c.Read(in)
		if err != nil {
			return nil, err
		}
		if n >= 12 && binary.BigEndian.Uint16(in) == id { // anything else answers another question
			return in[:n], nil
		}
	}
}

// readFrame reads one message of a TCP connection.
func readFrame(c io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

// read takes an answer apart.
func read(b []byte, id uint16, q dnsmessage.Question) (a *Answer, truncated bool, err error) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil {
		return nil, false, fmt.Errorf("the resolver's answer cannot be read: %w", err)
	}
	asked, err := p.AllQuestions()
	if err != nil || h.ID != id || !h.Response || len(asked) != 1 || asked[0].Type != q.Type || !strings.EqualFold(asked[0].Name.String(), q.Name.String()) {
		return nil, false, errors.New("the resolver's answer is to another question")
	}
	switch {
	case h.Truncated:
		return nil, true, nil
	case h.RCode == dnsmessage.RCodeNameError:
		a = &Answer{NotFound: true}
	case h.RCode == dnsmessage.RCodeSuccess:
		a = &Answer{}
	default:
		return nil, false, fmt.Errorf("the resolver cannot answer: %s", strings.TrimPrefix(h.RCode.String(), "RCode"))
	}
	for len(a.Records) < 200 {
		r, err := p.Answer()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		} else if err != nil {
			return nil, false, fmt.Errorf("the resolver's answer cannot be read: %w", err)
		}
		a.Records = append(a.Records, Record{strings.TrimSuffix(r.Header.Name.String(), "."), r.Header.Type, text(r.Body)})
	}
	return a, false, nil
}

// text is a record's data as Record.Value has it.
func text(body dnsmessage.ResourceBody) string {
	switch b := body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(b.A).String()
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(b.AAAA).String()
	case *dnsmessage.CNAMEResource:
		return strings.TrimSuffix(b.CNAME.String(), ".")
	case *dnsmessage.NSResource:
		return strings.TrimSuffix(b.NS.String(), ".")
	case *dnsmessage.TXTResource:
		return strings.Join(b.TXT, "")
	case *dnsmessage.UnknownResource:
		return string(b.Data)
	}
	return ""
}

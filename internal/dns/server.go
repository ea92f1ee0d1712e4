package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Reply is what a Server says to one question.
type Reply struct {
	RCode      dnsmessage.RCode
	Own        bool // the server is the authority
	Answers    []Record
	Authority  []Record // who is asked instead, or the zone where there is nothing
	Recursions bool     // it asks others as well
}

// Server answers questions of the DNS over UDP and TCP.
type Server struct {
	// Answer says what is known of a name, which is in lower case and without a dot at its end. It is called from several goroutines.
	Answer func(name string, t dnsmessage.Type) Reply
}

// Bounds of what clients may have.
const (
	maxTCP   = 64                     // connections at once
	tcpTime  = 5 * time.Second        // for a question to come over TCP
	tcpPause = 100 * time.Millisecond // until the next connection is taken after one could not be
	udpBytes = 512                    // that a datagram may have without more being agreed on
)

// ttl is how long others may keep an answer, in seconds: challenges come and go.
const ttl = 1

// Serve answers until ctx ends, then closes both sockets.
func (s *Server) Serve(ctx context.Context, udp net.PacketConn, tcp net.Listener) error {
	defer context.AfterFunc(ctx, func() { udp.Close(); tcp.Close() })()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.serveTCP(tcp) })
	in := make([]byte, 4096)
	for {
		n, from, err := udp.ReadFrom(in)
		if err != nil {
			udp.Close()
			tcp.Close()
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		if out := s.reply(in[:n], udpBytes); out != nil {
			_, _ = udp.WriteTo(out, from)
		}
	}
}

func (s *Server) serveTCP(l net.Listener) {
	places := make(chan struct{}, maxTCP)
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as no descriptors: there are some in a moment
			time.Sleep(tcpPause)
			continue
		}
		select {
		case places <- struct{}{}:
		default:
			c.Close()
			continue
		}
		go func() {
			defer func() { c.Close(); <-places }()
			for range 16 {
				_ = c.SetDeadline(time.Now().Add(tcpTime))
				in, err := readFrame(c)
				if err != nil {
					return
				}
				out := s.reply(in, 1<<16-1)
				if out == nil {
					return
				}
				if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
					return
				}
			}
		}()
	}
}

// reply answers one message in at most so many bytes; nil for what is no question.
func (s *Server) reply(in []byte, most int) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(in)
	if err != nil || h.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired}, Questions: []dnsmessage.Question{q}}
	switch {
	case h.OpCode != 0:
		m.RCode = dnsmessage.RCodeNotImplemented
	case q.Class != dnsmessage.ClassINET:
		m.RCode = dnsmessage.RCodeRefused
	default:
		r := s.Answer(strings.ToLower(strings.TrimSuffix(q.Name.String(), ".")), q.Type)
		m.RCode, m.Authoritative, m.RecursionAvailable = r.RCode, r.Own, r.Recursions
		m.Answers, m.Authorities = resources(r.Answers), resources(r.Authority)
	}
	out, err := m.Pack()
	if err == nil && len(out) <= most {
		return out
	}
	m.Answers, m.Authorities, m.Truncated = nil, nil, true
	if out, err = m.Pack(); err != nil {
		return nil
	}
	return out
}

// resources makes records what goes over the wire; what cannot be said is left out.
func resources(records []Record) []dnsmessage.Resource {
	var all []dnsmessage.Resource
	for _, r := range records {
		name, err := dnsmessage.NewName(r.Name + ".")
		body := bodyOf(r)
		if err != nil || body == nil {
			continue
		}
		all = append(all, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Type: r.Type, Class: dnsmessage.ClassINET, TTL: ttl}, Body: body})
	}
	return all
}

func bodyOf(r Record) dnsmessage.ResourceBody {
	other, err := dnsmessage.NewName(r.Value + ".")
	switch r.Type {
	case dnsmessage.TypeA:
		if a, err := netip.ParseAddr(r.Value); err == nil && a.Is4() {
			return &dnsmessage.AResource{A: a.As4()}
		}
	case dnsmessage.TypeAAAA:
		if a, err := netip.ParseAddr(r.Value); err == nil && a.Is6() {
			return &dnsmessage.AAAAResource{AAAA: a.As16()}
		}
	case dnsmessage.TypeTXT:
		return &dnsmessage.TXTResource{TXT: []string{r.Value}}
	case dnsmessage.TypeCNAME:
		if err == nil {
			return &dnsmessage.CNAMEResource{CNAME: other}
		}
	case dnsmessage.TypeNS:
		if err == nil {
			return &dnsmessage.NSResource{NS: other}
		}
	case dnsmessage.TypeSOA: // the value is the name of the server
		box, berr := dnsmessage.NewName("hostmaster." + r.Value + ".")
		if err == nil && berr == nil {
			return &dnsmessage.SOAResource{NS: other, MBox: box, Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, MinTTL: ttl}
		}
	case TypeCAA:
		return &dnsmessage.UnknownResource{Type: TypeCAA, Data: []byte(r.Value)}
	}
	return nil
}

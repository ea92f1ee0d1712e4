package dataplane

import (
	"bytes"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Bound returns a listener that lets clients in within the limits. It is for a server of NewServer.
func Bound(l net.Listener, limits Limits) net.Listener {
	plain, _ := BoundBoth(l, nil, limits)
	return plain
}

// BoundBoth is Bound for two listeners that share the limits. Clients of the second speak TLS; it may be nil.
func BoundBoth(plain, secure net.Listener, limits Limits) (net.Listener, net.Listener) {
	f := &front{limits: limits, peers: map[netip.Addr]*peer{}}
	if secure != nil {
		secure = &listener{secure, f, true}
	}
	return &listener{plain, f, false}, secure
}

// NewServer returns a server for handler that speaks HTTP/1.1 and HTTP/2, over TLS where its listener does, and holds out against clients that
// send slowly or never: a handshake and headers within 10 seconds each and at most 64 KiB of them, idle connections closed after two minutes.
// Bodies have no deadline, since an upload or a stream may take its time; a revision's timeoutSeconds bounds the rest.
func NewServer(handler http.Handler) *http.Server {
	s := &http.Server{
		ErrorLog:                     log.New(quietHandshakes{}, "", 0),
		Handler:                      counted{handler},
		ConnContext:                  note,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is for the app
		ReadHeaderTimeout:            10 * time.Second,
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               64 << 10,
		Protocols:                    new(http.Protocols),
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: 250, SendPingTimeout: 30 * time.Second},
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true) // over TLS
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// quietHandshakes is the log without what any client can fill it with.
type quietHandshakes struct{}

func (quietHandshakes) Write(b []byte) (int, error) {
	if !bytes.Contains(b, []byte("TLS handshake error")) {
		log.Print(string(bytes.TrimSuffix(b, []byte("\n"))))
	}
	return len(b), nil
}

package dataplane

import (
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Bound returns a listener that lets clients in within the limits. It is for a server of NewServer.
func Bound(l net.Listener, limits Limits) net.Listener {
	return &listener{l, &front{limits: limits, peers: map[netip.Addr]*peer{}}}
}

// NewServer returns a server for handler that speaks HTTP/1.1 and HTTP/2 without TLS, and holds out against clients that
// send slowly or never: headers within 10 seconds and at most 64 KiB of them, idle connections closed after two minutes.
// Bodies have no deadline, since an upload or a stream may take its time; a revision's timeoutSeconds bounds the rest.
func NewServer(handler http.Handler) *http.Server {
	s := &http.Server{
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
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}

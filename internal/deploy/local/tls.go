package local

import (
	"net"

	"github.com/gitd-io/gitd/internal/proxy/dataplane"
)

// Secure says how names with a certificate are served.
type Secure = dataplane.Secure

// Certificates are what is presented over TLS, and answered to those who issue certificates.
type Certificates = dataplane.Certificates

// BoundBoth is Bound for a listener for HTTP and one for HTTPS, which may be nil; they share the limits.
func BoundBoth(plain, secure net.Listener, limits Limits) (net.Listener, net.Listener) {
	return dataplane.BoundBoth(plain, secure, limits)
}

// PublishCertificates replaces the certificates. It does nothing where there is no HTTPS.
func (p *Platform) PublishCertificates(c *Certificates) {
	if p.opts.Secure != nil {
		p.plane.PublishCertificates(c)
	}
}

// TLS returns a listener for NewServer's server whose connections are over TLS. Options.Secure was given.
func (p *Platform) TLS(l net.Listener) net.Listener { return p.plane.TLS(l) }

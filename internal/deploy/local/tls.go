package local

import "github.com/gitd-io/gitd/internal/proxy"

// Secure says how names with a certificate are served.
type Secure = proxy.Secure

// Certificates are what is presented over TLS, and answered to those who issue certificates.
type Certificates = proxy.Certificates

// PublishCertificates replaces the certificates, and returns when the proxy goes by them: who is told of one may come at once. It does nothing where there is no HTTPS.
func (p *Platform) PublishCertificates(c *Certificates) {
	if p.opts.Secure != nil {
		p.proxy.PublishCertificates(c)
		p.proxy.Settle()
	}
}

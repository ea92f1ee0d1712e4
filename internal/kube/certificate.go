package kube

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"time"

	"k8s.io/client-go/rest"
)

// certificate is the client certificate of a configuration; nil if there is none.
func certificate(c *rest.Config) *x509.Certificate {
	data := c.CertData
	if len(data) == 0 && c.CertFile != "" {
		data, _ = os.ReadFile(c.CertFile)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil
	}
	crt, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return crt
}

func expiry(c *rest.Config) time.Time {
	if crt := certificate(c); crt != nil {
		return crt.NotAfter
	}
	return time.Time{}
}

// user is the name that the credentials give themselves, as far as one can see it from here.
func user(c *rest.Config) string {
	if crt := certificate(c); crt != nil {
		return crt.Subject.CommonName
	}
	return c.Username
}

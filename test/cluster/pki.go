package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// An identity is a certificate that one component shows to another. Kubernetes takes the common name for the user and the
// organisation for a group.
type identity struct {
	file         string
	name         string
	organization []string
	server       []string // names and addresses, for one that serves
	kubeconfig   string   // also written, with this address of the API server
}

func identities(s Settings) []identity {
	const inNode = "https://127.0.0.1:6443"
	return []identity{
		{file: "apiserver", name: "kube-apiserver", server: []string{nodeIP, apiServiceIP, "127.0.0.1", "localhost", "kubernetes",
			"kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}},
		{file: "kubelet-server", name: "system:node:" + nodeName, organization: []string{"system:nodes"}, server: []string{nodeIP, nodeName}},
		{file: "apiserver-kubelet", name: "apiserver-kubelet", organization: []string{"system:masters"}},
		{file: "admin", name: "admin", organization: []string{"system:masters"}, kubeconfig: fmt.Sprintf("https://127.0.0.1:%d", s.APIPort)},
		{file: "controller-manager", name: "system:kube-controller-manager", kubeconfig: inNode},
		{file: "scheduler", name: "system:kube-scheduler", kubeconfig: inNode},
		{file: "kubelet", name: "system:node:" + nodeName, organization: []string{"system:nodes"}, kubeconfig: inNode},
		{file: "proxy", name: "system:kube-proxy", kubeconfig: inNode},
	}
}

// makePKI writes the authority, the certificates and kubeconfigs of all components, and the key that signs service account tokens.
func makePKI(dir string, s Settings) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cluster-ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := sign(dir, "ca", ca, ca, caKey, caKey); err != nil {
		return err
	}
	for n, id := range identities(s) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(n + 2)), Subject: pkix.Name{CommonName: id.name, Organization: id.organization},
			NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		for _, s := range id.server {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			if ip := net.ParseIP(s); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, s)
			}
		}
		if err := sign(dir, id.file, c, ca, key, caKey); err != nil {
			return err
		}
		if id.kubeconfig != "" {
			if err := kubeconfig(dir, id); err != nil {
				return err
			}
		}
	}
	// An RSA key: the tokens' algorithm is then the RS256 that every library knows.
	tokens, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	if err := writeKey(dir, "tokens", tokens); err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(tokens.Public())
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, "tokens.pub"), "PUBLIC KEY", public)
}

func sign(dir, file string, c, ca *x509.Certificate, key *ecdsa.PrivateKey, caKey crypto.Signer) error {
	der, err := x509.CreateCertificate(rand.Reader, c, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, file+".crt"), "CERTIFICATE", der); err != nil {
		return err
	}
	return writeKey(dir, file, key)
}

func writeKey(dir, file string, key any) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, file+".key"), "PRIVATE KEY", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func kubeconfig(dir string, id identity) error {
	data := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			panic(err) // it was just written
		}
		return base64.StdEncoding.EncodeToString(b)
	}
	return os.WriteFile(filepath.Join(dir, id.file+".kubeconfig"), fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: cluster
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %s
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: cluster
  context: {cluster: cluster, user: %s}
current-context: cluster
`, id.kubeconfig, data("ca.crt"), id.file, data(id.file+".crt"), data(id.file+".key"), id.file), 0o600)
}

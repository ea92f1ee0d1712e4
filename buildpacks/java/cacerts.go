package java

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/pem"
	"os"
	"unicode/utf16"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// storePassword is that of every keystore of certificate authorities of Java's. There is nothing secret in it.
const storePassword = "changeit"

// maxAuthorities bounds the certificates of a bundle.
const maxAuthorities = 10_000

// keystore makes a Java keystore (JKS) of a bundle of PEM certificates. The same bundle makes the same file: Java's own tool notes times.
func keystore(bundle []byte) []byte {
	var certs [][]byte
	for len(certs) < maxAuthorities {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			certs = append(certs, block.Bytes)
		}
	}
	var b bytes.Buffer
	number := func(n uint32) { b.Write(binary.BigEndian.AppendUint32(nil, n)) }
	text := func(s string) {
		b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(s))))
		b.WriteString(s)
	}
	number(0xfeedfeed)
	number(2) // version
	number(uint32(len(certs)))
	for i, c := range certs {
		number(2) // a trusted certificate
		text(alias(i))
		b.Write(make([]byte, 8)) // when it was added
		text("X.509")
		number(uint32(len(c)))
		b.Write(c)
	}
	h := sha1.New() // the format's own
	for _, u := range utf16.Encode([]rune(storePassword)) {
		h.Write([]byte{byte(u >> 8), byte(u)})
	}
	h.Write([]byte("Mighty Aphrodite"))
	h.Write(b.Bytes())
	return h.Sum(b.Bytes())
}

func alias(i int) string {
	const digits = "0123456789"
	return "ca-" + string([]byte{digits[i/1000%10], digits[i/100%10], digits[i/10%10], digits[i%10]})
}

// systemBundle is where Debian has its certificate authorities.
const systemBundle = "/etc/ssl/certs/ca-certificates.crt"

// trust writes the keystore of the build: the certificate authorities of the platform, which may have more than the image.
func (b *build) trust(to string) error {
	file := b.env["SSL_CERT_FILE"]
	if file == "" || !kit.IsFile(file) {
		file = systemBundle
	}
	data, err := kit.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(to, keystore(data), 0o644)
}

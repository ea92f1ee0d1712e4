// Package wire is what gitd and gitd-acme say to each other: lines of JSON, gitd's on the program's standard input, its own on its standard output.
package wire

import "time"

// Config is the first that gitd says.
type Config struct {
	Dir         string        `json:"dir"`         // for accounts and certificates
	Directories []string      `json:"directories"` // of authorities: where one fails, the next is asked
	Email       string        `json:"email,omitempty"`
	Roots       string        `json:"roots,omitempty"`      // PEM of roots that the directories' own certificates may have, beside the system's
	Challenges  []string      `json:"challenges,omitempty"` // of http-01 and tls-alpn-01; none: both
	Resolver    string        `json:"resolver,omitempty"`   // that is asked for CAA records, host:port; "": the system's
	Every       time.Duration `json:"every"`                // how often certificates are looked at
}

// Order is a line of gitd's. One field is set.
type Order struct {
	Config *Config `json:"config,omitempty"`
	Names  *[]Name `json:"names,omitempty"`  // that there should be certificates for, all of them
	Again  string  `json:"again,omitempty"`  // the name that is looked at at once
	Done   int     `json:"done,omitempty"`   // the number of a challenge that is answered from now on, or no more
	Failed string  `json:"failed,omitempty"` // with Done: why it cannot be answered
}

// Name is a name that a certificate is obtained for.
type Name struct {
	Name   string `json:"name"`
	Number int    `json:"number,omitempty"` // another one than before: gitd has forgotten the certificate, and is to be told of it again
	DNS    bool   `json:"dns,omitempty"`    // by a record of the DNS alone
}

// Report is a line of the program's. One field is set.
type Report struct {
	Challenge   *Challenge   `json:"challenge,omitempty"`
	Certificate *Certificate `json:"certificate,omitempty"`
	Tried       *Tried       `json:"tried,omitempty"`
}

// The types of challenges.
const (
	HTTP = "http-01"
	ALPN = "tls-alpn-01"
	DNS  = "dns-01"
)

// Challenge asks gitd to answer an authority, or to stop that. gitd says when it does.
type Challenge struct {
	Number int    `json:"number"`
	Type   string `json:"type"`
	Name   string `json:"name"`            // that is proven, without "*."; of dns-01 the name of the record
	Token  string `json:"token,omitempty"` // of http-01
	Text   string `json:"text,omitempty"`  // the answer; of tls-alpn-01 a certificate and its key in PEM
	End    bool   `json:"end,omitempty"`
}

// Certificate is one that the program has.
type Certificate struct {
	Name  string `json:"name"`
	Chain string `json:"chain"` // PEM
	Key   string `json:"key"`   // PEM
}

// Tried says how an attempt for a certificate goes.
type Tried struct {
	Name   string    `json:"name"`
	Failed string    `json:"failed,omitempty"` // why, in words; "": it has begun
	Next   time.Time `json:"next,omitzero"`
}

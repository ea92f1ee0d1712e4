// Package wire is what gitd and gitd-builder, the program that makes builder images, say to each other: a Request on the program's standard input,
// Replies on its standard output, each a line of JSON.
package wire

import "github.com/gitd-io/gitd/internal/app"

// Request asks for our builder image, or for a base image with Packages.
type Request struct {
	Cache    string   // folder of the cache
	Base     string   `json:",omitempty"` // image to stand on, "" to bootstrap Debian
	Force    bool     `json:",omitempty"` // make it even where the cache has it
	Packages []string `json:",omitempty"` // of Debian: make a layer with these alone
}

// Reply is one of these. The last one is Made or Failed.
type Reply struct {
	Line   string  `json:",omitempty"` // for the log, as app.Log writes it
	Made   string  `json:",omitempty"` // below the folder of the cache: the link to the entry, or the stage with the base's layer
	Failed *Failed `json:",omitempty"`
}

// Failed is an error. One that was not made for people has CodeInternal, and its own text.
type Failed struct {
	Code          app.Code
	Message, Next string
}

// Package function is what is known of the function that an image serves: its buildpack says it in a label of the image, and a release keeps it in its
// Service, so that it goes live and is rolled back with the release.
package function

import (
	"encoding/json"
	"fmt"
)

// Label of an image has the function that it serves, as JSON.
const Label = "io.gitd.function"

// annotation of a Service's template has the same.
const annotation = "gitd.io/function"

// Contract is what a function looks like to its author, and which library calls it.
type Contract string

// The contracts.
const (
	FunctionsFramework Contract = "functions-framework"
	Knative            Contract = "knative"
	Lambda             Contract = "lambda"
)

// Signature is what a function is called with.
type Signature string

// The signatures. A function of Lambda may have none: it takes requests and events alike, then.
const (
	HTTP       Signature = "http"
	Event      Signature = "event" // data and context, as before CloudEvents
	CloudEvent Signature = "cloudevent"
)

// MaxConcurrency is how many requests at a time one instance of a function can ask for.
const MaxConcurrency = 1000

// Spec is a function.
type Spec struct {
	Contract    Contract  `json:"contract"`
	Language    string    `json:"language"` // "go", "nodejs" or "python"
	Target      string    `json:"target"`   // the function's name in the code; of Lambda, the handler
	Signature   Signature `json:"signature,omitempty"`
	Concurrency int64     `json:"concurrency,omitempty"` // requests at a time in one instance; 0: the default of an app
	Health      string    `json:"health,omitempty"`      // path that is answered when the function is loaded, without a call of it
}

// Settings are what project.toml says under [io.gitd.function].
type Settings struct {
	Contract    Contract  `json:"contract,omitempty"`
	Target      string    `json:"target,omitempty"`
	Signature   Signature `json:"signature,omitempty"`
	Handler     string    `json:"handler,omitempty"` // of Lambda: module.function
	Source      string    `json:"source,omitempty"`  // file or folder that has the function, relative to the app
	Concurrency int64     `json:"concurrency,omitempty"`
}

// bounds of a label, which a build writes.
const (
	maxLabel = 4 << 10
	maxWord  = 200
)

// Text is the function as a label has it.
func (s Spec) Text() (string, error) {
	text, err := json.Marshal(s)
	return string(text), err
}

// Parse reads a label. It returns nil for an image that serves no function, and an error for a label that cannot be one of ours.
func Parse(text string) (*Spec, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxLabel {
		return nil, fmt.Errorf("the label %s has more than %d bytes", Label, maxLabel)
	}
	var s Spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, fmt.Errorf("the label %s cannot be read: %w", Label, err)
	}
	for _, word := range []string{string(s.Contract), s.Language, s.Target, string(s.Signature), s.Health} {
		if !plain(word) {
			return nil, fmt.Errorf("the label %s has a value that is too long or cannot be printed", Label)
		}
	}
	if s.Concurrency < 0 || s.Concurrency > MaxConcurrency {
		return nil, fmt.Errorf("the label %s has a concurrency of %d", Label, s.Concurrency)
	}
	if s.Health != "" && s.Health[0] != '/' {
		return nil, fmt.Errorf("the label %s has a health path that does not begin with /", Label)
	}
	return &s, nil
}

func plain(word string) bool {
	for _, c := range word {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(word) <= maxWord
}

// Set keeps a function in the annotations of a template; nil for none.
func Set(annotations map[string]string, s *Spec) error {
	if s == nil {
		delete(annotations, annotation)
		return nil
	}
	text, err := s.Text()
	if err == nil {
		annotations[annotation] = text
	}
	return err
}

// Of returns the function in the annotations of a template; nil for an app that is none.
func Of(annotations map[string]string) (*Spec, error) { return Parse(annotations[annotation]) }

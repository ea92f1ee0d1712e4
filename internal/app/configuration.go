package app

import "time"

// Variable is a variable of an app's configuration, with what may be seen of it: never its value.
type Variable struct {
	Name   string    `json:"name"`
	Digest string    `json:"digest"`          // tells two values of the variable apart; it cannot be computed without the server's key
	Set    time.Time `json:"set"`             // when it got its value
	By     string    `json:"by"`              // name of the key that set it
	Build  bool      `json:"build,omitempty"` // builds see it as well

	Preview bool   `json:"preview,omitempty"` // the app's previews see it as well
	From    string `json:"from,omitempty"`    // of a preview: the app that it has it from
}

// Configuration is one version of an app's configuration. Versions are never changed; a release refers to one.
type Configuration struct {
	Version   int // 1, 2, …; 0 for an app that has none
	Created   time.Time
	By        string // name of the key that made it
	Variables []Variable
	Recipient string // the public part of the key that Sealed is sealed with
	Sealed    []byte // the values; nil where no release needs them any more
}

// Variable returns the variable with this name; nil if there is none.
func (c *Configuration) Variable(name string) *Variable {
	for i := range c.Variables {
		if c.Variables[i].Name == name {
			return &c.Variables[i]
		}
	}
	return nil
}

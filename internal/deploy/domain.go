package deploy

// Domain is a name that leads to a Service beside the platform's own: ASCII, in lower case, without a dot at its end; or "*." and a name, for all that have
// one label more, where the platform can do that (WildcardDomains).
type Domain struct {
	Name string
	// Chain and Key are its certificate, in PEM, where the platform serves HTTPS by itself: on a cluster. Empty where there is none.
	Chain, Key []byte
}

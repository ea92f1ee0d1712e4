package dns

// For tests.
var (
	System  = system
	ReplyOf = (*Server).reply
)

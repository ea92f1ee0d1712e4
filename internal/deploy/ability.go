package deploy

// Ability is something that not every platform can do.
type Ability string

// The abilities.
const (
	StickySplits Ability = "sticky splits" // a client stays with its side of a split, by a cookie
	// WildcardDomains are domains with "*.", which stand for all names with one label more.
	WildcardDomains Ability = "wildcard domains"
)

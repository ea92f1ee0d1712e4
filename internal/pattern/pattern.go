// Package pattern compiles regular expressions when they are first used. Compiling all of them at the start takes time and memory of every command and
// of every helper process, which use few of them.
package pattern

import (
	"regexp"
	"sync"
)

// Pattern is a regular expression. It is safe for concurrent use.
type Pattern struct {
	text string
	once sync.Once
	// once guards the following.
	compiled *regexp.Regexp
}

// New returns a pattern. Its first use panics where the text is no regular expression: patterns are constants, which tests use.
func New(text string) *Pattern { return &Pattern{text: text} }

func (p *Pattern) regexp() *regexp.Regexp {
	p.once.Do(func() { p.compiled = regexp.MustCompile(p.text) })
	return p.compiled
}

// MatchString is that of package regexp, as are the following.
func (p *Pattern) MatchString(s string) bool { return p.regexp().MatchString(s) }

// FindString returns the text of the leftmost match.
func (p *Pattern) FindString(s string) string { return p.regexp().FindString(s) }

// FindStringSubmatch returns the leftmost match and its groups, nil for no match.
func (p *Pattern) FindStringSubmatch(s string) []string { return p.regexp().FindStringSubmatch(s) }

// ReplaceAllString replaces all matches.
func (p *Pattern) ReplaceAllString(s, replacement string) string {
	return p.regexp().ReplaceAllString(s, replacement)
}

// Split splits s at the matches, into at most n parts; all for n < 0.
func (p *Pattern) Split(s string, n int) []string { return p.regexp().Split(s, n) }

// FindAllStringSubmatch returns up to n matches and their groups; all for n < 0.
func (p *Pattern) FindAllStringSubmatch(s string, n int) [][]string {
	return p.regexp().FindAllStringSubmatch(s, n)
}

// Package fsck checks the content of objects as git fsck --strict does, and finds what they refer to. The names of the
// problems are git's: see git-fsck(1), "FSCK MESSAGES".
package fsck

// Kind is what kind of object a reference leads to.
type Kind uint8

// The kinds, numbered as in packs. A parent is a commit that may be missing where a shallow history ends.
const (
	Commit Kind = 1
	Tree   Kind = 2
	Blob   Kind = 3
	Tag    Kind = 4
	Parent Kind = 5
)

// SpecialFile is a file that git itself reads.
type SpecialFile uint8

// The special files.
const (
	Modules SpecialFile = iota
	Attributes
)

func (f SpecialFile) String() string { return [...]string{".gitmodules", ".gitattributes"}[f] }

func (f SpecialFile) id() string { return [...]string{"gitmodules", "gitattributes"}[f] }

// Visitor is told what an object refers to. The ids are valid during the call only.
type Visitor interface {
	Link(kind Kind, id []byte)
	Special(file SpecialFile, id []byte) // the content of a blob is to be checked by Modules or Attributes
}

// Problem is why an object is not sound.
type Problem struct {
	ID   string // git's name of it, such as "hasDotgit"
	Text string
}

// Error returns both, as git prints them.
func (p *Problem) Error() string { return p.ID + ": " + p.Text }

// Checker checks objects. It is safe for concurrent use.
type Checker struct {
	Ignore map[string]bool // problems that are none
}

// problem returns an error unless it is to be ignored.
func (c *Checker) problem(id, text string) error {
	if c.Ignore[id] {
		return nil
	}
	return &Problem{id, text}
}

// Missing is the problem of a special file that is not there.
func (c *Checker) Missing(f SpecialFile) error {
	return &Problem{f.id() + "Missing", "unable to read " + f.String() + " blob"}
}

// NotBlob is the problem of a special file that is no file.
func (c *Checker) NotBlob(f SpecialFile) error {
	return &Problem{f.id() + "Blob", "non-blob found at " + f.String()}
}

// TooLarge is the problem of a special file that is too large to be read.
func (c *Checker) TooLarge(f SpecialFile) error {
	return c.problem(f.id()+"Large", f.String()+" too large to parse")
}

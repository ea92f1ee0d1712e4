package fsck

import (
	"bytes"
)

// File types in the mode of a tree's entry.
const (
	typeMask    = 0o170000
	typeTree    = 0o040000
	typeSymlink = 0o120000
	typeGitlink = 0o160000
)

const idSize = 20

// treeFlag is one of the problems that a tree may have, in the order in which git tells them.
type treeFlag uint16

const (
	nullID treeFlag = 1 << iota
	fullPath
	emptyName
	dot
	dotdot
	dotgit
	zeroPadded
	duplicates
	unsorted
)

var treeProblems = []struct {
	flag     treeFlag
	id, text string
}{
	{nullID, "nullSha1", "contains entries pointing to null sha1"},
	{fullPath, "fullPathname", "contains full pathnames"},
	{emptyName, "emptyName", "contains empty pathname"},
	{dot, "hasDot", "contains '.'"},
	{dotdot, "hasDotdot", "contains '..'"},
	{dotgit, "hasDotgit", "contains '.git'"},
	{zeroPadded, "zeroPaddedFilemode", "contains zero-padded file modes"},
	{duplicates, "duplicateEntries", "contains duplicate file entries"},
	{unsorted, "treeNotSorted", "not properly sorted"},
}

// What a byte of a name may lead to.
const (
	byteSlash = 1 << iota
	byteBackslash
	byteUnusual // may be part of another spelling of a name that is special
	byteEnd
)

var byteClass = func() (t [256]uint8) {
	t[0], t['/'], t['\\'], t['~'] = byteEnd, byteSlash, byteBackslash, byteUnusual
	for i := 0x80; i < 256; i++ {
		t[i] = byteUnusual
	}
	return t
}()

var errTree = &Problem{"badTree", "cannot be parsed as a tree"}

var zeroID [idSize]byte

// Tree checks a tree. Of its modes only the form is checked: git warns of unusual ones, and no more.
func (c *Checker) Tree(data []byte, v Visitor) error {
	var flags treeFlag
	var early error // what git tells before all else
	var lastMode uint32
	var last []byte
	var candidates [][]byte // files that a folder further on may be a duplicate of
	for n := 0; len(data) > 0; n++ {
		if len(data) < idSize+3 || data[len(data)-idSize-1] != 0 {
			return errTree
		}
		mode, i := uint32(0), 0
		for ; data[i] != ' '; i++ {
			d := data[i] - '0'
			if d > 7 {
				return errTree
			}
			mode = mode<<3 | uint32(d)
		}
		if i == 0 {
			return errTree
		}
		mode &= 0xffff
		padded := data[0] == '0'
		i++
		start, class := i, uint8(0)
		for {
			k := byteClass[data[i]]
			class |= k
			if k&byteEnd != 0 {
				break
			}
			i++
		}
		if len(data) < i+1+idSize {
			return errTree
		}
		name, id := data[start:i], data[i+1:i+1+idSize]
		data = data[i+1+idSize:]
		if len(name) == 0 {
			// git does not parse such trees at all.
			return errTree
		}
		if padded {
			flags |= zeroPadded
		}
		if id[0] == 0 && bytes.Equal(id, zeroID[:]) {
			flags |= nullID
		}
		if class&byteSlash != 0 {
			flags |= fullPath
		}
		switch name[0] {
		case '.', 'g', 'G', 'm', 'M':
			class |= byteUnusual
		}
		if class&(byteUnusual|byteBackslash) != 0 {
			f, err := c.special(name, class, mode, id, v)
			flags |= f
			if early == nil {
				early = err
			}
		}
		if n > 0 {
			flags |= ordered(lastMode, last, mode, name, &candidates)
		}
		last, lastMode = name, mode
		switch mode & typeMask {
		case typeTree:
			v.Link(Tree, id)
		case typeGitlink:
		default:
			v.Link(Blob, id)
		}
	}
	if early != nil {
		return early
	}
	if flags == 0 {
		return nil
	}
	for _, p := range treeProblems {
		if flags&p.flag != 0 {
			if err := c.problem(p.id, p.text); err != nil {
				return err
			}
		}
	}
	return nil
}

// special looks at a name that may mean something to git or to a file system.
func (c *Checker) special(name []byte, class uint8, mode uint32, id []byte, v Visitor) (flags treeFlag, err error) {
	link := mode&typeMask == typeSymlink
	switch string(name) {
	case ".":
		return dot, nil
	case "..":
		return dotdot, nil
	}
	if hfsName(name, "git") || ntfsDotGit(name) {
		flags |= dotgit
	}
	if hfsName(name, "gitmodules") || ntfsName(name, "gitmodules", "gi7eba") {
		if link {
			err = c.problem("gitmodulesSymlink", ".gitmodules is a symbolic link")
		} else {
			v.Special(Modules, id)
		}
	}
	if !link && (hfsName(name, "gitattributes") || ntfsName(name, "gitattributes", "gi7d29")) {
		v.Special(Attributes, id)
	}
	if class&byteBackslash == 0 {
		return flags, err
	}
	for rest := name; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			return flags, err
		}
		rest = rest[i+1:]
		if ntfsDotGit(rest) {
			flags |= dotgit
		}
		if ntfsName(rest, "gitmodules", "gi7eba") {
			if !link {
				v.Special(Modules, id)
			} else if err == nil {
				err = c.problem("gitmodulesSymlink", ".gitmodules is a symbolic link")
			}
		}
	}
}

// ordered compares two entries that follow each other. The order is that of paths: the name of a folder counts as if it
// ended in a slash. So a file and a folder of one name may have other entries between them; candidates has the files for
// which this is still possible.
func ordered(mode1 uint32, name1 []byte, mode2 uint32, name2 []byte, candidates *[][]byte) treeFlag {
	n := min(len(name1), len(name2))
	switch c := bytes.Compare(name1[:n], name2[:n]); {
	case c < 0:
		return 0
	case c > 0:
		return unsorted
	}
	if len(name1) == len(name2) {
		return duplicates
	}
	next := func(name []byte, mode uint32) byte {
		if len(name) > n {
			return name[n]
		}
		if mode&typeMask == typeTree {
			return '/'
		}
		return 0
	}
	c1, c2 := next(name1, mode1), next(name2, mode2)
	switch {
	case c1 == 0 && beforeSlash(c2):
		*candidates = append(*candidates, name1)
	case c2 == '/' && beforeSlash(c1):
		for len(*candidates) > 0 {
			f := (*candidates)[len(*candidates)-1]
			*candidates = (*candidates)[:len(*candidates)-1]
			rest, ok := bytes.CutPrefix(name2, f)
			if !ok {
				continue
			}
			if len(rest) == 0 {
				return duplicates
			}
			if beforeSlash(rest[0]) {
				*candidates = append(*candidates, f)
				break
			}
		}
	}
	if c1 < c2 {
		return 0
	}
	return unsorted
}

func beforeSlash(c byte) bool { return 0 < c && c < '/' }

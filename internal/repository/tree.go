package repository

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/gitd-io/gitd/internal/app"
)

const (
	maxTreeBytes = 16 << 20 // of one tree object
	maxLink      = 4095     // of a symlink's target: PATH_MAX without the NUL
	maxName      = 255      // of one name: NAME_MAX
	maxPath      = 3800     // of a path below the checkout, so that PATH_MAX holds with any folder in front
	maxTreeMemo  = 32 << 20 // bytes of tree objects that a walk remembers
	maxPaths     = 32 << 20 // bytes of all paths of a commit, and of what its symlinks say
)

// entry is one file, folder or symlink of a tree.
type entry struct {
	path   string // slash-separated
	mode   filemode.FileMode
	id     plumbing.Hash
	target string     // of a symlink
	module *catFile   // where the object is, in a submodule; nil for the repository itself
	large  *largeFile // what the file is a Git LFS pointer to; nil if it is not one
}

// regular says whether it is a file.
func (e *entry) regular() bool {
	return e.mode == filemode.Regular || e.mode == filemode.Deprecated || e.mode == filemode.Executable
}

// tally is how much of a commit is known.
type tally struct {
	files int
	paths int // bytes of their paths, and of what symlinks say
}

func tallyOf(entries []entry) (t tally) {
	for _, e := range entries {
		t.paths += len(e.path) + len(e.target)
	}
	t.files = len(entries)
	return t
}

func (t tally) and(o tally) tally { return tally{t.files + o.files, t.paths + o.paths} }

// walkTree lists a whole tree, folders before what is in them, and refuses what could not be checked out safely.
// Limits are counted by entry, so that a small pack that stands for millions of files costs nothing. Where symlinks lead to is
// checked by checkLinks, when all of the tree is known.
//
// The tree is a part of a larger one where dir, which then ends in "/", is not "": so much of that is known already.
//
// Trees in before need not be read. It also returns the trees by their IDs, as far as they are not too many to remember.
func (c *catFile) walkTree(root plumbing.Hash, dir string, known tally, limits Limits, before map[plumbing.Hash][]entry) ([]entry, map[plumbing.Hash][]entry, error) {
	w := treeWalk{c: c, limits: limits, known: known.files, paths: known.paths, before: before, memo: make(map[plumbing.Hash][]entry, len(before))}
	if err := w.levels(root, dir); err != nil {
		return nil, nil, err
	}
	w.entries = make([]entry, 0, w.count(root, limits.Files))
	if err := w.walk(root, dir, 1+strings.Count(dir, "/")); err != nil {
		return nil, nil, err
	}
	if len(w.entries) == 0 && dir == "" {
		return nil, nil, app.Errorf(app.CodeInvalidInput, "add files and commit them: git add -A && git commit", "the commit holds no files")
	}
	if err := w.readLinks(); err != nil {
		return nil, nil, err
	}
	return w.entries, w.memo, nil
}

type treeWalk struct {
	c       *catFile
	limits  Limits
	known   int
	paths   int // bytes
	entries []entry
	links   []int
	before  map[plumbing.Hash][]entry
	memo    map[plumbing.Hash][]entry
	memoed  int
}

func (w *treeWalk) walk(id plumbing.Hash, dir string, depth int) error {
	if depth > w.limits.Depth {
		return app.Errorf(app.CodeLimitExceeded, "move the files up", "folders are nested more than %d deep: %s…", w.limits.Depth, app.Clip(dir, 60))
	}
	list, err := w.tree(id, dir)
	if err != nil {
		return err
	}
	few := list[:min(len(list), max(0, w.limits.Files-w.known-len(w.entries)))]
	length := len(dir) * len(few)
	for _, e := range few {
		length += len(e.path)
	}
	if w.paths+length > maxPaths {
		return w.keeps(length)
	}
	paths := joined(dir, few, length)
	for _, e := range list {
		if w.known+len(w.entries) >= w.limits.Files {
			return app.Errorf(app.CodeLimitExceeded, "leave generated files such as node_modules out of the repository",
				"the commit has more than %d files", w.limits.Files)
		}
		n := len(dir) + len(e.path)
		e.path, paths = paths[:n], paths[n:]
		if len(e.path) > maxPath {
			return app.Errorf(app.CodeLimitExceeded, "use shorter names", "the path %s is longer than %d bytes", quote(e.path), maxPath)
		}
		if err := w.keeps(len(e.path)); err != nil {
			return err
		}
		if e.mode == filemode.Symlink {
			w.links = append(w.links, len(w.entries))
		}
		w.entries = append(w.entries, e)
		if e.mode == filemode.Dir {
			if err := w.walk(e.id, e.path+"/", depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// joined returns the paths of all entries of a folder, of that length together, one behind the other: in one piece of memory, for there are many.
func joined(dir string, list []entry, length int) string {
	var b strings.Builder
	b.Grow(length)
	for _, e := range list {
		b.WriteString(dir)
		b.WriteString(e.path)
	}
	return b.String()
}

// keeps counts bytes of paths: a small tree under long names stands for many.
func (w *treeWalk) keeps(n int) error {
	if w.paths += n; w.paths > maxPaths {
		return app.Errorf(app.CodeLimitExceeded, "use shorter names", "the paths of the commit are longer than %s together", app.Size(maxPaths))
	}
	return nil
}

// tree reads and parses one tree object; a bomb uses the same few again and again.
func (w *treeWalk) tree(id plumbing.Hash, dir string) ([]entry, error) {
	if l, ok := w.memo[id]; ok {
		return l, nil
	}
	if l, ok := w.before[id]; ok {
		w.memo[id] = l
		return l, nil
	}
	if err := w.c.ask(id); err != nil {
		return nil, err
	}
	return w.answer(id, dir)
}

// answer takes apart a tree that was asked for.
func (w *treeWalk) answer(id plumbing.Hash, dir string) ([]entry, error) {
	kind, b, err := w.c.answered(id, maxTreeBytes)
	var large *tooLargeError
	switch {
	case errors.Is(err, errMissing):
		return nil, incomplete("tree %.12s is missing", id)
	case errors.As(err, &large):
		return nil, app.Errorf(app.CodeLimitExceeded, "spread the files over several folders", "the folder %q has too many files", "/"+app.Plain(dir))
	case err != nil:
		return nil, err
	case kind != "tree":
		return nil, app.Errorf(app.CodeInvalidInput, "check your repository with: git fsck", "object %.12s is a %s where a tree must be", id, kind)
	}
	l, err := parseTree(b)
	if err != nil {
		return nil, app.Errorf(app.CodeInvalidInput, "check your repository with: git fsck --strict", "tree %.12s is not sound: %v", id, err)
	}
	if w.memoed += len(b); w.memoed < maxTreeMemo {
		w.memo[id] = l
	}
	return l, nil
}

// readLinks fetches the targets of all symlinks at one go.
func (w *treeWalk) readLinks() error {
	for _, i := range w.links {
		e := &w.entries[i]
		kind, b, err := w.c.object(e.id, maxLink)
		var large *tooLargeError
		switch {
		case errors.Is(err, errMissing):
			return incomplete("%s is missing", quote(e.path))
		case errors.As(err, &large):
			return app.Errorf(app.CodeInvalidInput, "remove it", "the symlink %s has a target of %d bytes", quote(e.path), large.size)
		case err != nil:
			return err
		case kind != "blob" || len(b) == 0 || bytes.IndexByte(b, 0) >= 0:
			return app.Errorf(app.CodeInvalidInput, "remove it", "the symlink %s has no sound target", quote(e.path))
		}
		if err := w.keeps(len(b)); err != nil {
			return err
		}
		e.target = string(b)
	}
	return nil
}

// parseTree takes a tree object apart (mode, space, name, NUL, 20 bytes of id) and refuses names that lead elsewhere.
func parseTree(b []byte) ([]entry, error) {
	list := make([]entry, 0, len(b)/40+1)
	ascending := true // then no name is there twice
	for len(b) > 0 {
		head, rest, ok := bytes.Cut(b, []byte{0})
		if !ok || len(rest) < 20 {
			return nil, errors.New("it is cut off")
		}
		modeText, name, ok := strings.Cut(string(head), " ")
		if !ok {
			return nil, errors.New("an entry has no mode")
		}
		mode, err := filemode.New(modeText)
		if err != nil {
			return nil, fmt.Errorf("%q is not a mode", modeText)
		}
		switch mode {
		case filemode.Dir, filemode.Regular, filemode.Deprecated, filemode.Executable, filemode.Symlink, filemode.Submodule:
		default:
			return nil, fmt.Errorf("%q has mode %o", name, uint32(mode))
		}
		switch {
		case name == "" || name == "." || name == ".." || strings.Contains(name, "/"):
			return nil, fmt.Errorf("%q is no name for a file", name)
		case strings.EqualFold(name, ".git"):
			return nil, fmt.Errorf("%q is a name that git keeps for itself", name)
		case len(name) > maxName:
			return nil, fmt.Errorf("a name is longer than %d bytes: %q", maxName, app.Clip(name, 60))
		}
		if n := len(list); n > 0 && list[n-1].path >= name {
			ascending = false
		}
		list = append(list, entry{path: name, mode: mode, id: plumbing.Hash(rest[:20])})
		b = rest[20:]
	}
	if ascending {
		return list, nil
	}
	seen := make(map[string]bool, len(list)) // a folder comes after files that its name is a part of: "a.b", "a"
	for _, e := range list {
		if seen[e.path] {
			return nil, fmt.Errorf("%q is there twice", e.path)
		}
		seen[e.path] = true
	}
	return list, nil
}

// checkLinks follows every symlink through the tree, by way of other symlinks too, and refuses those that lead out of it.
// A link to what does not exist is allowed; a loop as well.
func checkLinks(entries []entry) error {
	links, environments := map[string]string{}, []string(nil)
	for _, e := range entries {
		if e.mode == filemode.Symlink {
			links[e.path] = e.target
		}
		if path.Base(e.path) == "pyvenv.cfg" {
			environments = append(environments, path.Dir(e.path))
		}
	}
	for _, e := range entries {
		if e.mode == filemode.Symlink && !staysInside(e.path, e.target, links) {
			next := "make it point to a file of the app, by a relative path, or remove it"
			for _, dir := range environments {
				if strings.HasPrefix(e.path, dir+"/") { // made by its owner for one machine
					next = fmt.Sprintf("take the virtual environment out of the repository: git rm -r -q --cached %s, add it to .gitignore, commit and push again", app.Plain(app.Clip(dir, 100)))
				}
			}
			return app.Errorf(app.CodeInvalidInput, next, "the symlink %s points outside of the app: %q", quote(e.path), app.Plain(app.Clip(e.target, 100)))
		}
	}
	return nil
}

// maxLinkHops is how many symlinks the kernel follows for one path (MAXSYMLINKS).
const maxLinkHops = 40

func staysInside(from, target string, links map[string]string) bool {
	if strings.HasPrefix(target, "/") {
		return false
	}
	var at []string // where we are, below the root
	if d := path.Dir(from); d != "." {
		at = strings.Split(d, "/")
	}
	todo := strings.Split(target, "/")
	for hops := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return false
			}
			at = at[:len(at)-1]
			continue
		}
		at = append(at[:len(at):len(at)], name)
		next, ok := links[strings.Join(at, "/")]
		if !ok {
			continue
		}
		if hops++; hops > maxLinkHops {
			return true // the kernel gives up as well
		}
		if strings.HasPrefix(next, "/") {
			return false
		}
		at = at[:len(at)-1]
		todo = append(strings.Split(next, "/"), todo...)
	}
	return true
}

// quote shows a path to people.
func quote(p string) string { return strconv.Quote(app.Clip(p, 200)) }

package repository

import (
	"container/list"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// maxTreeCache bounds the bytes of trees that are remembered for all apps together.
const maxTreeCache = 32 << 20

// entryBytes is what an entry takes beside its path, with what the allocator adds.
const entryBytes = 96

// treeCache remembers the trees that each app's last push listed: but for a few, the next commit has the same, and need not read them. A tree
// is known by what it holds, so nothing here becomes wrong; that all of a push is in the repository is checked elsewhere.
type treeCache struct {
	mu    sync.Mutex
	bytes int
	apps  map[string]*list.Element
	order *list.List // of *appTrees, the one used last in front
}

type appTrees struct {
	name  string
	trees map[plumbing.Hash][]entry // by ID; it is not changed
	bytes int
}

func newTreeCache() *treeCache {
	return &treeCache{apps: map[string]*list.Element{}, order: list.New()}
}

// of returns the trees of an app's last push, which the caller does not change.
func (c *treeCache) of(name string) map[plumbing.Hash][]entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.apps[name]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*appTrees).trees
}

// keep replaces the app's cached trees, evicting the least recently used apps where there are too many.
func (c *treeCache) keep(name string, trees map[plumbing.Hash][]entry) {
	a := &appTrees{name: name, trees: trees}
	for _, t := range trees {
		a.bytes += 160 // of the map
		for _, e := range t {
			a.bytes += entryBytes + len(e.path)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(name)
	if a.bytes > maxTreeCache {
		return
	}
	for c.bytes+a.bytes > maxTreeCache {
		c.forget(c.order.Back().Value.(*appTrees).name)
	}
	c.bytes += a.bytes
	c.apps[name] = c.order.PushFront(a)
}

// forget is called with the lock held.
func (c *treeCache) forget(name string) {
	if e := c.apps[name]; e != nil {
		c.bytes -= e.Value.(*appTrees).bytes
		c.order.Remove(e)
		delete(c.apps, name)
	}
}

// drop forgets an app that is gone.
func (c *treeCache) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(name)
}

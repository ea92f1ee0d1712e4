package obtain

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/acme/wire"
)

// attempt is how the last attempts for a name went.
type attempt struct {
	Failures int       `json:"failures,omitempty"`
	Failed   string    `json:"failed,omitempty"`
	Next     time.Time `json:"next,omitzero"`
}

// notes keep attempts that failed over restarts, so that those do not count as pauses.
type notes struct {
	file string
	mu   sync.Mutex
	all  map[string]attempt
}

func openNotes(file string) *notes {
	n := &notes{file: file, all: map[string]attempt{}}
	b, err := os.ReadFile(file)
	if err == nil && json.Unmarshal(b, &n.all) != nil {
		n.all = map[string]attempt{}
	}
	return n
}

func (n *notes) of(name string) attempt {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[name]
}

func (n *notes) set(name string, a attempt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all[name] == a {
		return
	}
	n.all[name] = a
	if a.Failures == 0 {
		delete(n.all, name)
	}
	n.write()
}

// keep forgets the names that are wanted no more.
func (n *notes) keep(names []wire.Name) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wanted := map[string]bool{}
	for _, w := range names {
		wanted[w.Name] = true
	}
	before := len(n.all)
	for name := range n.all {
		if !wanted[name] {
			delete(n.all, name)
		}
	}
	if len(n.all) != before {
		n.write()
	}
}

// write is best effort: on a full disk a restart tries earlier than it should. The caller holds mu.
func (n *notes) write() {
	b, err := json.Marshal(n.all)
	if err != nil || os.MkdirAll(filepath.Dir(n.file), 0o700) != nil {
		return
	}
	if os.WriteFile(n.file+".new", b, 0o600) == nil {
		_ = os.Rename(n.file+".new", n.file)
	}
}

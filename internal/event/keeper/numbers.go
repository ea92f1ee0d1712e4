package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// block is how many numbers are taken from the disk at once.
const block = 1000

// numbers are those of events and letters. None is given out twice: where the process ends, the rest of its block is left out.
type numbers struct {
	file string

	mu          sync.Mutex
	last, until int64
}

func openNumbers(dir string) (*numbers, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	n := &numbers{file: filepath.Join(dir, "numbers")}
	text, err := os.ReadFile(n.file)
	if os.IsNotExist(err) {
		return n, nil
	}
	if err != nil {
		return nil, err
	}
	if n.until, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err != nil {
		return nil, fmt.Errorf("%s: %w", n.file, err)
	}
	n.last = n.until
	return n, nil
}

func (n *numbers) next() (int64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last == n.until {
		if err := writeSynced(n.file, strconv.AppendInt(nil, n.until+block, 10)); err != nil {
			return 0, err
		}
		n.until += block
	}
	n.last++
	return n.last, nil
}

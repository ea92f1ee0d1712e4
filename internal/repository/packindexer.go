package repository

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/internal/repository/pack"
)

// packIndexer indexes packs in this process.
type packIndexer struct{}

// NewPackIndexer returns the default Indexer, which needs no git process: it takes about half of the processor time of git
// index-pack.
func NewPackIndexer() Indexer { return packIndexer{} }

// inflatedPerSecond is what a second of processor time inflates, resolves and checks at the least: it turns a limit on time
// into one on work.
const inflatedPerSecond = 200 << 20

func (packIndexer) Index(ctx context.Context, r io.Reader, to PackTarget, limits PackLimits, progress Progress) (PackStats, error) {
	cut, err := readCut(to)
	if err != nil {
		return PackStats{}, err
	}
	in, ok := r.(*bufio.Reader)
	if !ok {
		in = bufio.NewReaderSize(r, 128<<10)
	}
	o := pack.Options{
		Dir: filepath.Join(to.Quarantine, "pack"), Repository: filepath.Join(to.Repository, "objects"),
		Shallow: func(id pack.ID) bool { return cut[id] },
		Limits: pack.Limits{Bytes: limits.Bytes, Objects: limits.Objects, Memory: int64(min(limits.Memory, 1<<62)),
			Inflated: int64(min(limits.CPU.Seconds()*inflatedPerSecond, 1<<62))},
		Ignore:   []string{"badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode"},
		NoSync:   true, // takeOver syncs it
		Progress: progress,
	}
	res, err := pack.Index(ctx, in, o)
	if err != nil {
		return PackStats{}, err
	}
	return PackStats{Objects: res.Objects, Bytes: res.Bytes, Connected: res.Connected}, nil
}

// readCut returns the commits whose parents may be missing.
func readCut(to PackTarget) (map[pack.ID]bool, error) {
	file := to.Shallow
	if file == "" {
		file = filepath.Join(to.Repository, "shallow")
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	cut := map[pack.ID]bool{}
	for l := range strings.FieldsSeq(string(b)) {
		id, err := pack.ParseID(l)
		if err != nil {
			return nil, err
		}
		cut[id] = true
	}
	return cut, nil
}

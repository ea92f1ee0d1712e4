package repository

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"io"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pattern"
	"github.com/gitd-io/gitd/internal/repository/pack"
	"github.com/gitd-io/gitd/internal/tail"
)

// PackLimits bound one pack.
type PackLimits struct {
	Bytes   int64         // of the pack as sent
	Objects uint32        // by its header
	Memory  uint64        // bytes of memory that indexing may take
	CPU     time.Duration // processor time that indexing may take
}

// PackStats is what a pack held.
type PackStats struct {
	Objects int
	Bytes   int64
	// Connected says that all that the pack's objects lead to is here: each refers only to objects of the pack or of the
	// repository. Nothing ever comes into a repository otherwise and nothing is dropped from it, so that this holds for what
	// those refer to in turn, and the history need not be walked.
	Connected bool
}

// Progress is told where a pack stands, often: so many of so many objects.
type Progress func(phase string, done, of int)

// PackTarget says where a pack goes to.
type PackTarget struct {
	Repository string // the bare repository whose objects the pack may build on
	Quarantine string // object directory that takes the pack and its index, in pack/
	Shallow    string // file with the commits whose parents are cut off, or ""
}

// Indexer takes packs in. Index reads one pack up to its trailer and never waits for the end of r; it may read bytes that
// follow. It completes a thin pack, checks every object as git fsck --strict does, and leaves a pack and its index in the
// quarantine. What is wrong with the pack is told by an *app.Error.
type Indexer interface {
	Index(ctx context.Context, r io.Reader, to PackTarget, limits PackLimits, progress Progress) (PackStats, error)
}

// ErrIncomplete is in the chain of an Indexer's error when the pack builds on objects that are nowhere.
var ErrIncomplete = pack.ErrIncomplete

// packHeaderSize is "PACK", version and number of objects.
const packHeaderSize = 12

// readPackHeader reads and checks the header. It returns io.EOF where there is no pack at all.
func readPackHeader(r io.Reader, limits PackLimits) (header []byte, count uint32, err error) {
	header = make([]byte, packHeaderSize)
	if _, err := io.ReadFull(r, header); err != nil {
		if err == io.ErrUnexpectedEOF {
			err = app.Errorf(app.CodeInvalidInput, "push again", "the pack ended before it began")
		}
		return nil, 0, err
	}
	version := binary.BigEndian.Uint32(header[4:])
	if string(header[:4]) != "PACK" || version != 2 && version != 3 {
		return nil, 0, app.Errorf(app.CodeInvalidInput, "push with git 1.6 or newer", "what was sent is not a pack that can be read")
	}
	count = binary.BigEndian.Uint32(header[8:])
	if count > limits.Objects {
		return nil, 0, app.Errorf(app.CodeLimitExceeded, "push a shorter history, for instance from a shallow clone",
			"the pack says it has %d objects; the limit is %d", count, limits.Objects)
	}
	return header, count, nil
}

// gitIndexer indexes packs with git index-pack.
type gitIndexer struct{}

// NewGitIndexer returns an Indexer that has git index-pack do the work. It stands by in case that ours is at fault.
func NewGitIndexer() Indexer { return gitIndexer{} }

// fsckExceptions are the checks that old and harmless histories fail: dates and modes that long gone tools wrote.
const fsckExceptions = "badTimezone=ignore,missingSpaceBeforeDate=ignore,zeroPaddedFilemode=ignore"

func (gitIndexer) Index(ctx context.Context, r io.Reader, to PackTarget, limits PackLimits, progress Progress) (PackStats, error) {
	var header []byte
	var count uint32
	begun := make(chan error, 1)
	go func() { // ends with r, which may have nothing to read for long
		var err error
		if header, count, err = readPackHeader(r, limits); err == nil && count == 0 {
			err = readEmptyTrailer(r, header)
		}
		begun <- err
	}()
	select {
	case err := <-begun:
		if err != nil {
			return PackStats{}, err
		}
	case <-ctx.Done():
		return PackStats{}, context.Cause(ctx)
	}
	if count == 0 {
		return PackStats{Bytes: packHeaderSize + sha1.Size}, nil
	}
	o := objects{repository: to.Repository, quarantine: to.Quarantine, shallow: to.Shallow}
	c := o.command(ctx, "-c", "core.bigFileThreshold=16m", "-c", "core.fsync=none", "index-pack", "--stdin", "--fix-thin", "-v",
		"--strict="+fsckExceptions, "--max-input-size="+strconv.FormatInt(limits.Bytes, 10),
		"--threads="+strconv.Itoa(min(runtime.NumCPU(), 4)))
	in, err := c.StdinPipe()
	if err != nil {
		return PackStats{}, err
	}
	watch := &progressWriter{progress: progress}
	c.Stderr = watch
	if err := c.Start(); err != nil {
		return PackStats{}, err
	}
	if err := restrain(c.Process.Pid, limits.Memory, limits.CPU); err != nil {
		_ = killGroup(c)
		_ = c.Wait()
		return PackStats{}, err
	}
	// Not cmd.Stdin: Wait would wait for the end of r, which comes after our answer. The goroutine ends with r.
	var sent atomic.Int64
	go func() {
		defer in.Close()
		_, _ = io.CopyBuffer(&countingWriter{w: in, n: &sent}, io.MultiReader(bytes.NewReader(header), struct{ io.Reader }{r}), make([]byte, 128<<10))
	}()
	if err := c.Wait(); err != nil {
		if e := context.Cause(ctx); e != nil {
			return PackStats{}, e
		}
		watch.endLine()
		return PackStats{}, explainPack(&GitError{command: "index-pack", lines: complaints(&watch.complaints), err: err}, limits)
	}
	return PackStats{Objects: int(count), Bytes: sent.Load()}, nil
}

// readEmptyTrailer checks the end of a pack without objects.
func readEmptyTrailer(r io.Reader, header []byte) error {
	var trailer [sha1.Size]byte
	if _, err := io.ReadFull(r, trailer[:]); err != nil || trailer != sha1.Sum(header) {
		return app.Errorf(app.CodeInvalidInput, "push again", "the pack is damaged: its checksum does not match")
	}
	return nil
}

// fsckLine is how git names a bad object: "object 1234…: hasDotgit: contains '.git'".
var fsckLine = pattern.New(`^object ([0-9a-f]{40}): (\w+: .*)$`)

// explainPack puts into words why git index-pack refused a pack.
func explainPack(g *GitError, limits PackLimits) error {
	switch s := g.killedBy(); {
	case g.says("No space left on device", "Disk quota exceeded"):
		return app.Wrap(g, app.CodeUnavailable, "ask the operator to make room", "the server's disk is full")
	case g.says("pack exceeds maximum allowed size"):
		return app.Wrap(g, app.CodeLimitExceeded, "push a shorter history, for instance from a shallow clone, or leave large files out",
			"the pack is larger than %s", app.Size(limits.Bytes))
	case s == syscall.SIGXCPU || s == syscall.SIGKILL:
		return app.Wrap(g, app.CodeLimitExceeded, "push less at once", "unpacking took more than %v of processor time", limits.CPU)
	case g.says("ut of memory", "unable to create thread", "unable to mmap", "mmap failed"):
		return app.Wrap(g, app.CodeLimitExceeded, "leave very large files out of the repository",
			"unpacking took more than %s of memory", app.Size(int64(limits.Memory)))
	}
	for _, l := range g.lines {
		if m := fsckLine.FindStringSubmatch(l); m != nil {
			return app.Errorf(app.CodeInvalidInput, "see: git fsck --strict, and git show "+m[1][:12], "object %.12s is not sound: %s", m[1], m[2])
		}
	}
	for _, l := range g.lines {
		if id, ok := strings.CutPrefix(l, "did not receive expected object "); ok {
			return incomplete("object %.12s is missing", id)
		}
	}
	next := "check your repository with git fsck, and push again"
	switch n := len(g.lines); {
	case n == 0:
		return app.Wrap(g, app.CodeInvalidInput, next, "the pack is damaged: git index-pack failed")
	case g.says("unresolved delta"):
		return app.Wrap(ErrIncomplete, app.CodeInvalidInput, next, "the pack is damaged: %s", app.Plain(g.lines[n-1]))
	case n == 1:
		return app.Errorf(app.CodeInvalidInput, next, "the pack is damaged: %s", app.Plain(g.lines[0]))
	default:
		rest := &GitError{command: g.command, lines: g.lines[:n-1], err: g.err}
		return app.Wrap(rest, app.CodeInvalidInput, next, "the pack is damaged: %s", app.Plain(g.lines[n-1]))
	}
}

// incomplete is the error of a push that leads to objects that are not here.
func incomplete(format string, args ...any) error {
	return incompleteSince(ErrIncomplete, format, args...)
}

// incompleteSince is incomplete with a cause that has ErrIncomplete in its chain.
func incompleteSince(cause error, format string, args ...any) error {
	return app.Wrap(cause, app.CodeInvalidInput, "check your repository with git fsck, and push again from a full clone", "the push is incomplete: "+format, args...)
}

// countingWriter counts what goes through.
type countingWriter struct {
	w io.Writer
	n *atomic.Int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// progressLine is how git tells where it stands, again and again on one line: "Receiving objects:  45% (243/542), 1.20 MiB".
var progressLine = pattern.New(`^([A-Z][a-z]+ [a-z ]+): +[0-9]{1,3}% \(([0-9]{1,10})/([0-9]{1,10})\)`)

// maxLine bounds a line of what git prints.
const maxLine = 8 << 10

// progressWriter separates git's progress on stderr from its complaints.
type progressWriter struct {
	progress   Progress
	line       []byte
	complaints tail.Tail
}

func (w *progressWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		if c != '\n' && c != '\r' {
			if len(w.line) < maxLine {
				w.line = append(w.line, c)
			}
			continue
		}
		w.endLine()
	}
	return len(p), nil
}

func (w *progressWriter) endLine() {
	defer func() { w.line = w.line[:0] }()
	if m := progressLine.FindStringSubmatch(string(w.line)); m != nil {
		done, err := strconv.Atoi(m[2])
		of, e := strconv.Atoi(m[3])
		if err == nil && e == nil && w.progress != nil {
			w.progress(m[1], done, of)
		}
		return
	}
	_, _ = w.complaints.Write(append(w.line, '\n'))
}

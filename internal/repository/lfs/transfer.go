package lfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pktline"
)

// Operation is what a client wants: to send objects, or to fetch them.
type Operation string

// The operations of git-lfs-transfer.
const (
	Upload   Operation = "upload"
	Download Operation = "download"
)

const (
	maxArguments = 64
	maxObjects   = 10000 // in one batch; Git LFS asks for 100
	maxExcess    = 1 << 20
)

// Stats is what a conversation came to.
type Stats struct {
	Objects int
	Bytes   int64
}

// Serve talks to one git-lfs-transfer client until it quits, or until what it says cannot be understood. ctx is looked at between two
// packets.
func Serve(ctx context.Context, r io.Reader, w io.Writer, op Operation, store *Store) (Stats, error) {
	t := &transfer{ctx: ctx, in: &pktline.Reader{R: r}, w: w, op: op, store: store}
	if _, err := w.Write(append(pktline.Append(nil, "version=1\n"), "0000"...)); err != nil {
		return t.stats, err
	}
	for {
		if err := context.Cause(ctx); err != nil {
			return t.stats, err
		}
		quit, err := t.request()
		if err == io.EOF || quit {
			err = nil
			return t.stats, err
		}
		if err != nil {
			return t.stats, err
		}
	}
}

type transfer struct {
	ctx   context.Context
	in    *pktline.Reader
	w     io.Writer
	op    Operation
	store *Store
	stats Stats
}

// request reads one request and answers it.
func (t *transfer) request() (quit bool, err error) {
	line, err := t.in.Line()
	if err != nil {
		return false, unexpected(err)
	}
	verb, operand, _ := strings.Cut(string(line), " ")
	arguments := map[string]string{}
	more := false // lines or data follow
	for {
		line, err := t.in.Line()
		if err == pktline.ErrFlush {
			break
		}
		if err == pktline.ErrDelim {
			more = true
			break
		}
		if err != nil {
			return false, unexpected(early(err))
		}
		key, value, _ := strings.Cut(string(line), "=")
		if arguments[key] = value; len(arguments) > maxArguments {
			return false, fmt.Errorf("%w: too many arguments", pktline.ErrProtocol)
		}
	}
	switch {
	case verb == "put-object" && more && t.op == Upload:
		return false, t.put(operand, arguments)
	case verb == "batch" && more:
		return false, t.batch(arguments)
	}
	if more {
		if err := t.skip(maxExcess); err != nil {
			return false, err
		}
	}
	switch {
	case verb == "version" && operand == "1":
		return false, t.answer(http.StatusOK, nil)
	case verb == "version":
		return false, t.refuse(http.StatusBadRequest, "only version 1 is spoken here")
	case verb == "quit":
		return true, t.answer(http.StatusOK, nil)
	case verb == "get-object" && t.op == Download:
		return false, t.get(operand)
	case verb == "verify-object" && t.op == Upload:
		return false, t.verify(operand, arguments)
	case verb == "get-object", verb == "put-object", verb == "verify-object":
		return false, t.refuse(http.StatusForbidden, verb+" is not for "+string(t.op))
	case verb == "lock", verb == "unlock", verb == "list-lock":
		return false, t.refuse(http.StatusNotImplemented, "gitd keeps no locks: lock files where the team's repository is")
	}
	return false, t.refuse(http.StatusNotImplemented, fmt.Sprintf("unknown request %q", app.Plain(app.Clip(verb, 60))))
}

// unexpected makes an error of protocol of what Line may return where a packet with content must be.
func unexpected(err error) error {
	if err == pktline.ErrFlush || err == pktline.ErrDelim {
		return fmt.Errorf("%w: unexpected %v", pktline.ErrProtocol, err)
	}
	return err
}

// early is for an end where there must be none.
func early(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%w: the request ends early", pktline.ErrProtocol)
	}
	return err
}

// answer sends a status and arguments.
func (t *transfer) answer(status int, arguments []string) error {
	b := pktline.Append(nil, fmt.Sprintf("status %d\n", status))
	for _, a := range arguments {
		b = pktline.Append(b, a+"\n")
	}
	_, err := t.w.Write(append(b, "0000"...))
	return err
}

// refuse sends a status and why.
func (t *transfer) refuse(status int, why string) error { return t.lines(status, nil, []string{why}) }

func (t *transfer) lines(status int, arguments, lines []string) error {
	b := pktline.Append(nil, fmt.Sprintf("status %d\n", status))
	for _, a := range arguments {
		b = pktline.Append(b, a+"\n")
	}
	b = append(b, "0001"...)
	for _, l := range lines {
		b = pktline.Append(b, l+"\n")
	}
	_, err := t.w.Write(append(b, "0000"...))
	return err
}

// fail tells err, in words where it has some.
func (t *transfer) fail(err error) error {
	status, why := http.StatusInternalServerError, "internal error: the server's log has the details"
	var e *app.Error
	switch {
	case errors.As(err, &e):
		status, why = http.StatusInsufficientStorage, e.Message
		if e.Next != "" {
			why += ": " + e.Next
		}
	case errors.Is(err, ErrContent):
		status, why = http.StatusUnprocessableEntity, ErrContent.Error()
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		status, why = http.StatusInsufficientStorage, "the server's disk is full: ask the operator to make room"
	case errors.Is(err, fs.ErrNotExist):
		status, why = http.StatusNotFound, "there is no such object here"
	}
	if e := t.refuse(status, why); e != nil {
		return e
	}
	if status == http.StatusInternalServerError {
		return err
	}
	return nil
}

// skip reads what follows a delimiter, of which at most limit bytes are tolerated.
func (t *transfer) skip(limit int64) error {
	for {
		b, err := t.in.Next()
		if err == pktline.ErrFlush {
			return nil
		}
		if err != nil {
			return unexpected(early(err))
		}
		if limit -= int64(len(b)); limit < 0 {
			return fmt.Errorf("%w: more was sent than announced", pktline.ErrProtocol)
		}
	}
}

// batch says for every object what is to be done with it.
func (t *transfer) batch(arguments map[string]string) error {
	var asked []Pointer
	for {
		line, err := t.in.Line()
		if err == pktline.ErrFlush {
			break
		}
		if err != nil {
			return unexpected(early(err))
		}
		f := strings.Fields(string(line))
		if len(f) < 2 || !ValidOID(f[0]) || len(asked) >= maxObjects {
			return fmt.Errorf("%w: bad object, or too many", pktline.ErrProtocol)
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || size < 0 {
			return fmt.Errorf("%w: bad size", pktline.ErrProtocol)
		}
		asked = append(asked, Pointer{OID: f[0], Size: size})
	}
	if algorithm, ok := arguments["hash-algo"]; ok && algorithm != "sha256" {
		return t.refuse(http.StatusConflict, "only sha256 is known here")
	}
	var answers []string
	for _, p := range asked {
		action := "noop"
		size, err := t.store.Use(p.OID)
		missing := errors.Is(err, fs.ErrNotExist)
		switch {
		case err != nil && !missing:
			return t.fail(err)
		case t.op == Download && missing:
			action, size = "noop", p.Size // the client says which file it is that has no object
		case t.op == Download:
			action = "download"
		case missing || size != p.Size:
			if p.Size > t.store.limits.Object { // said before it is sent
				return t.fail(t.store.reserve(p.Size))
			}
			action, size = "upload", p.Size
		}
		answers = append(answers, fmt.Sprintf("%s %d %s", p.OID, size, action))
	}
	return t.lines(http.StatusOK, []string{"hash-algo=sha256"}, answers)
}

// sizeOf returns the argument that says how large an object is.
func sizeOf(oid string, arguments map[string]string) (int64, error) {
	size, err := strconv.ParseInt(arguments["size"], 10, 64)
	if err != nil || size < 0 || !ValidOID(oid) {
		return 0, fmt.Errorf("%w: bad object or size", pktline.ErrProtocol)
	}
	return size, nil
}

func (t *transfer) put(oid string, arguments map[string]string) error {
	size, err := sizeOf(oid, arguments)
	if err != nil {
		return err
	}
	in, err := t.store.receive(oid, size)
	if err != nil {
		if e := t.skip(size + maxExcess); e != nil { // the client reads no answer before it has sent everything
			return e
		}
		return t.fail(err)
	}
	for {
		b, err := t.in.Next()
		if err == pktline.ErrFlush {
			break
		}
		if err == nil {
			err = context.Cause(t.ctx)
		}
		if err != nil {
			in.abandon()
			return unexpected(early(err))
		}
		if _, err := in.Write(b); err != nil {
			left := size - in.got + maxExcess
			in.abandon()
			if e := t.skip(left); e != nil {
				return e
			}
			return t.fail(err)
		}
	}
	if err := in.finish(); err != nil {
		return t.fail(err)
	}
	t.stats.Objects++
	t.stats.Bytes += size
	return t.answer(http.StatusOK, nil)
}

func (t *transfer) verify(oid string, arguments map[string]string) error {
	size, err := sizeOf(oid, arguments)
	if err != nil {
		return err
	}
	here, err := t.store.Use(oid)
	if err != nil {
		return t.fail(err)
	}
	if here != size {
		return t.fail(ErrContent)
	}
	return t.answer(http.StatusOK, nil)
}

// get sends an object. The client checks it against its name.
func (t *transfer) get(oid string) error {
	size, err := t.store.Use(oid)
	if err != nil {
		return t.fail(err)
	}
	f, err := t.store.Open(oid)
	if err != nil {
		return t.fail(err)
	}
	defer f.Close()
	head := pktline.Append(nil, "status 200\n")
	head = pktline.Append(head, fmt.Sprintf("size=%d\n", size))
	if _, err := t.w.Write(append(head, "0001"...)); err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	var packet []byte
	for {
		n, err := f.Read(buf)
		if n > 0 {
			packet = pktline.Append(packet[:0], buf[:n])
			if _, err := t.w.Write(packet); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err == nil {
			err = context.Cause(t.ctx)
		}
		if err != nil {
			return err
		}
	}
	t.stats.Objects++
	t.stats.Bytes += size
	_, err = io.WriteString(t.w, "0000")
	return err
}

package local

import (
	"context"
	"database/sql"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
)

// maxGroup is how many changes are written in one transaction.
const maxGroup = 512

// writer writes changes in groups: those that come while a transaction is on its way to the disk share the next one. So the number of changes a second is not
// bounded by how long a sync takes.
type writer struct {
	conn    *sql.Conn
	changes chan *change
	done    chan struct{}

	statements map[string]*sql.Stmt

	mu sync.RWMutex
	// mu guards the following.
	closed bool
}

// change is one change. do is called within the transaction; an error of it undoes the change alone.
type change struct {
	do    func(tx *tx) error
	after func() // once it is on disk, before the caller goes on
	err   chan error

	failed error // of do
}

// tx is the transaction under way, with statements that are prepared once.
type tx struct{ w *writer }

// never is the context of what must not be cut short.
var never = context.Background()

func newWriter(db *sql.DB) (*writer, error) {
	conn, err := db.Conn(never)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn, changes: make(chan *change, 4*maxGroup), done: make(chan struct{}), statements: map[string]*sql.Stmt{}}
	go w.run()
	return w, nil
}

// close writes what has been taken, and takes nothing more.
func (w *writer) close() {
	w.mu.Lock()
	closed := w.closed
	w.closed = true
	w.mu.Unlock()
	if closed {
		return
	}
	close(w.changes)
	<-w.done
	for _, s := range w.statements {
		_ = s.Close()
	}
	_ = w.conn.Close()
}

// errClosed is the error of a change that comes after close.
func errClosed() error {
	return app.Errorf(app.CodeUnavailable, "send it again in a moment", "the server is shutting down")
}

// write returns when a change is on disk. It does not end early with ctx once the change is taken: whether it is written would not be known.
func (w *writer) write(ctx context.Context, do func(tx *tx) error, after func()) error {
	c := &change{do: do, after: after, err: make(chan error, 1)}
	if err := w.take(ctx, c); err != nil {
		return err
	}
	return <-c.err
}

func (w *writer) take(ctx context.Context, c *change) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return errClosed()
	}
	select {
	case w.changes <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *writer) run() {
	defer close(w.done)
	for first := range w.changes {
		group := []*change{first}
	more:
		for len(group) < maxGroup {
			select {
			case c, ok := <-w.changes:
				if !ok {
					break more
				}
				group = append(group, c)
			default:
				break more
			}
		}
		w.commit(group)
	}
}

// commit writes a group. A change that fails is left out. Only where SQLite has undone the others with it are they written again.
func (w *writer) commit(group []*change) {
	for len(group) > 0 {
		lost, err := w.try(group)
		if lost >= 0 {
			group[lost].err <- err
			group = append(group[:lost:lost], group[lost+1:]...)
			continue
		}
		for _, c := range group {
			switch {
			case err != nil: // the disk, and it concerns all of them
				c.err <- err
			case c.failed != nil:
				c.err <- c.failed
			default:
				if c.after != nil {
					c.after()
				}
				c.err <- nil
			}
		}
		return
	}
}

// try writes a group, but for the changes that fail, or nothing of it: then it says which change has undone it; -1 for none.
func (w *writer) try(group []*change) (lost int, err error) {
	t := &tx{w}
	if _, err := t.exec("BEGIN IMMEDIATE"); err != nil {
		return -1, explain(err)
	}
	for i, c := range group {
		if c.failed, err = t.apart(c.do); err != nil {
			w.rollback()
			if c.failed == nil {
				c.failed = explain(err)
			}
			return i, c.failed
		}
	}
	if _, err := t.exec("COMMIT"); err != nil {
		w.rollback()
		return -1, explain(err)
	}
	return -1, nil
}

// apart makes a change so that its error undoes it alone. With err, the transaction is no more: after some errors SQLite undoes all of it.
func (t *tx) apart(do func(tx *tx) error) (failed, err error) {
	if _, err := t.exec("SAVEPOINT change"); err != nil {
		return nil, err
	}
	if failed = explain(do(t)); failed != nil {
		if _, err := t.exec("ROLLBACK TO change"); err != nil {
			return failed, err
		}
	}
	_, err = t.exec("RELEASE change")
	return failed, err
}

// rollback undoes the transaction. After some errors SQLite has done so by itself.
func (w *writer) rollback() { _, _ = w.conn.ExecContext(never, "ROLLBACK") }

// exec runs a statement that is prepared once.
func (t *tx) exec(query string, args ...any) (sql.Result, error) {
	s, err := t.prepared(query)
	if err != nil {
		return nil, err
	}
	return s.Exec(args...)
}

// count is exec, and returns how many rows have changed.
func (t *tx) count(query string, args ...any) (int, error) {
	r, err := t.exec(query, args...)
	if err != nil {
		return 0, err
	}
	n, err := r.RowsAffected()
	return int(n), err
}

// row runs a query with one row that is prepared once.
func (t *tx) row(query string, args []any, into ...any) error {
	s, err := t.prepared(query)
	if err != nil {
		return err
	}
	return s.QueryRow(args...).Scan(into...)
}

func (t *tx) prepared(query string) (*sql.Stmt, error) {
	s := t.w.statements[query]
	if s == nil {
		var err error
		if s, err = t.w.conn.PrepareContext(never, query); err != nil {
			return nil, err
		}
		t.w.statements[query] = s
	}
	return s, nil
}

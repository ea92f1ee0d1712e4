package keeper

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

func opened(t *testing.T) *letters {
	t.Helper()
	dir := t.TempDir()
	n, err := openNumbers(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLetters(dir, n)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// One app does not take the room of the others, and apps do not take all of it from the events that gitd sends.
func TestLetters_Room(t *testing.T) {
	l := opened(t)
	of := func(app int64) *Letter { return &Letter{AppID: app, Event: json.RawMessage(`{}`)} }
	out := &Letter{Out: true, Event: json.RawMessage(`{}`)}
	add := func(what string, letter *Letter, want error) {
		t.Helper()
		if err := l.add(letter); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	for _, most := range []room{{letters: MaxLetters / shareOf}, {bytes: maxBytes / shareOf}} {
		l.shares[7] = most
		add("more than a share", of(7), errShare)
		add("another app", of(8), nil)
		add("what gitd sends", out, nil)
	}
	delete(l.shares, 7)
	for _, most := range []room{{letters: MaxLetters * (outOf - 1) / outOf}, {bytes: maxBytes * (outOf - 1) / outOf}} {
		was := l.apps
		l.apps = most
		add("where apps have their part", of(8), errFull)
		add("what gitd sends then", out, nil)
		l.apps = was
	}
	l.all = room{letters: MaxLetters}
	add("where all is full", out, errFull)
}

// What is counted as taken is what is there, also after a change, a removal and a restart.
func TestLetters_Counts(t *testing.T) {
	l := opened(t)
	a, b := &Letter{AppID: 7, Event: json.RawMessage(`{}`)}, &Letter{Out: true, Event: json.RawMessage(`{}`)}
	for _, letter := range []*Letter{a, b} {
		if err := l.add(letter); err != nil {
			t.Fatal(err)
		}
	}
	a.Failure.Data = make([]byte, 500)
	if err := l.set(a); err != nil {
		t.Fatal(err)
	}
	again, err := openLetters(l.dir, l.numbers)
	if err != nil {
		t.Fatal(err)
	}
	if again.all != l.all || again.apps != l.apps || again.shares[7] != l.shares[7] || again.shares[0] != l.shares[0] || l.apps.letters != 1 || l.apps.bytes < 500 {
		t.Errorf("%+v %+v, want %+v %+v", l.all, l.shares, again.all, again.shares)
	}
	for _, letter := range []*Letter{a, b} {
		if err := l.remove(letter.ID); err != nil {
			t.Fatal(err)
		}
	}
	if l.all != (room{}) || l.apps != (room{}) || len(l.shares) != 0 {
		t.Errorf("%+v %+v %+v", l.all, l.apps, l.shares)
	}
}

// Dead letters are kept for 30 days. What waits is not dead.
func TestLetters_Expire(t *testing.T) {
	l := opened(t)
	dead, waits := &Letter{AppID: 7, Event: json.RawMessage(`{}`)}, &Letter{AppID: 7, Event: json.RawMessage(`{}`), Again: &Again{}}
	late := &Letter{AppID: 7, Event: json.RawMessage(`{}`), Died: time.Now().Add(2 * time.Hour)} // it was retried
	for _, letter := range []*Letter{dead, waits, late} {
		if err := l.add(letter); err != nil {
			t.Fatal(err)
		}
	}
	l.expire(time.Now().Add(-keepDead))
	if n := len(l.list(0, 0, 1<<62, 10)); n != 3 {
		t.Errorf("%d letters of today are left", n)
	}
	l.expire(time.Now().Add(time.Hour))
	if left := l.list(0, 0, 1<<62, 10); len(left) != 2 || left[0].ID != late.ID || left[1].ID != waits.ID {
		t.Errorf("%+v", left)
	}
}

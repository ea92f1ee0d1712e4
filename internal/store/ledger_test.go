package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/store/storetest"
)

// addRelease adds a release that takes these steps.
func addRelease(t *testing.T, s *Store, name string, steps ...Event) app.Release {
	t.Helper()
	r, err := s.AddRelease(t.Context(), app.Release{App: name, Commit: "c", Ref: "refs/heads/main", Key: "dev", Message: "words"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range steps {
		if err := s.AddEvent(t.Context(), name, r.Version, e); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// wentLive are the steps of a release that went live as a revision; of is the version that it is of.
func wentLive(name string, of int) []Event {
	digest := fmt.Sprint("sha256:", of)
	return []Event{{State: app.StateBuilding}, {State: app.StateBuilt, Repository: name, Digest: digest},
		{State: app.StateStarting, Repository: name, Digest: digest, Revision: app.RevisionName(name, of), Service: fmt.Appendf(nil, `{"of":%d}`, of)},
		{State: app.StateShifting}, {State: app.StateLive}}
}

func mustCreate(t *testing.T, s *Store, name string) {
	t.Helper()
	if _, err := s.CreateApp(t.Context(), name, "dev"); err != nil {
		t.Fatal(err)
	}
}

func versions(rs []app.Release) string {
	var list []string
	for _, r := range rs {
		list = append(list, fmt.Sprint(r.Version))
	}
	return strings.Join(list, " ")
}

// history opens a store with the ledgers of three apps.
func history(t *testing.T) *Store {
	t.Helper()
	s, _ := mustOpen(t)
	for _, name := range []string{"hello", "other", "empty"} {
		mustCreate(t, s, name)
	}
	addRelease(t, s, "hello", wentLive("hello", 1)...)
	addRelease(t, s, "hello", wentLive("hello", 2)...)
	addRelease(t, s, "hello", Event{State: app.StateStarting, Revision: "hello-v3"}, Event{State: app.StateFailed, Reason: "no"})
	addRelease(t, s, "hello", wentLive("hello", 4)...)
	addRelease(t, s, "hello", wentLive("hello", 2)...) // v5 goes back to v2
	ready := wentLive("hello", 6)[:3]
	addRelease(t, s, "hello", append(ready, Event{State: app.StateReady, Reason: "gets no traffic"})...)
	addRelease(t, s, "hello", wentLive("hello", 7)[:2]...) // v7 is built
	addRelease(t, s, "hello")                              // v8 has just come
	addRelease(t, s, "other", wentLive("other", 1)...)
	return s
}

func TestLedger_OneRelease(t *testing.T) {
	ctx, s := t.Context(), history(t)
	hello := s.Ledger("hello")
	one := func(what string, r app.Release, err error, want int, code app.Code) {
		t.Helper()
		if app.CodeOf(err) != code || r.Version != want {
			t.Errorf("%s: v%d, %v; want v%d, %q", what, r.Version, err, want, code)
		}
	}
	r, err := hello.Live(ctx)
	one("Live", r, err, 5, "")
	if r.Revision != "hello-v2" || r.Digest != "sha256:2" || r.Message != "words" || r.Finished.IsZero() || r.Created.IsZero() {
		t.Errorf("Live = %+v", r)
	}
	r, err = hello.Previous(ctx) // "back" from v5, which is v2's revision, is v4
	one("Previous", r, err, 4, "")
	r, err = s.Ledger("other").Previous(ctx)
	one("Previous of the only one", r, err, 0, app.CodeNotFound)
	r, err = s.Ledger("empty").Live(ctx)
	one("Live of none", r, err, 0, app.CodeNotFound)
	r, err = s.Ledger("empty").Newest(ctx)
	one("Newest of none", r, err, 0, app.CodeNotFound)
	r, err = hello.Newest(ctx)
	one("Newest", r, err, 8, "")
	r, err = hello.Find(ctx, 3)
	one("Find", r, err, 3, "")
	if r.State != app.StateFailed || r.Reason != "no" {
		t.Errorf("v3 = %+v", r)
	}
	r, err = hello.Find(ctx, 9)
	one("Find of none", r, err, 0, app.CodeNotFound)
	if b, err := hello.Service(ctx, 5); err != nil || string(b) != `{"of":2}` {
		t.Errorf("Service = %s, %v", b, err)
	}
	if _, err := hello.Service(ctx, 3); app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("Service of what never started: %v", err)
	}
}

func TestLedger_Lists(t *testing.T) {
	ctx, s := t.Context(), history(t)
	hello := s.Ledger("hello")
	list := func(what, want string, rs []app.Release, err error) {
		t.Helper()
		if got := versions(rs); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", what, got, err, want)
		}
	}
	rs, err := hello.Page(ctx, 0, 3)
	list("Page", "8 7 6", rs, err)
	rs, err = hello.Page(ctx, 3, 10)
	list("Page before v3", "2 1", rs, err)
	rs, err = s.Unfinished(ctx)
	list("Unfinished", "7 8", rs, err)
	rs, err = hello.Kept(ctx, 10)
	list("Kept", "7 6 5 4 1", rs, err) // v5 has the revision of v2
	rs, err = hello.Kept(ctx, 2)
	list("Kept, two", "7 6 5", rs, err)
	for revision, want := range map[string][2]bool{"hello-v2": {true, true}, "hello-v6": {true, true}, "hello-v7": {false, false}, "hello-v3": {false, true}, "hello-v9": {}, "": {}} {
		serves, err := hello.Serves(ctx, revision)
		knows, err2 := hello.Knows(ctx, revision)
		if got := [2]bool{serves, knows}; err != nil || err2 != nil || got != want {
			t.Errorf("Serves, Knows %q: %v, %v, %v; want %v", revision, got, err, err2, want)
		}
	}
}

func TestStore_AllApps(t *testing.T) {
	ctx, s := t.Context(), history(t)
	standings, err := s.Standings(ctx)
	if want := map[string]Standing{"hello": {5, 8, app.StateReceived, false, false}, "other": {1, 1, app.StateLive, false, false}}; err != nil || !reflect.DeepEqual(standings, want) {
		t.Errorf("Standings = %v, %v", standings, err)
	}
	var services []string
	live, err := s.LiveServices(ctx, "dev", 2)
	for _, l := range live {
		service, err := s.ServiceIn(ctx, l)
		services = append(services, fmt.Sprintf("%s v%d %s %v", l.App, l.Version, service, err))
	}
	if err != nil || !slices.Equal(services, []string{`hello v5 {"of":2} <nil>`}) { // not of other, which has the ID 2
		t.Errorf("LiveServices = %q, %v", services, err)
	}
	commits, err := s.LiveCommits(ctx)
	if want := []LiveCommit{{app.App{Name: "hello"}, 5, "c"}, {app.App{Name: "other"}, 1, "c"}}; err != nil || !reflect.DeepEqual(commits, want) {
		t.Errorf("LiveCommits = %v, %v", commits, err)
	}
}

// No query reads a whole table or sorts what it reads, so that its cost does not grow with the ledger. Those about all apps read an index per app.
func TestStore_QueriesReadIndexes(t *testing.T) {
	s, _ := mustOpen(t)
	for name, q := range map[string]string{"Find": queryFind, "Page": queryPage, "Live": queryLive, "Previous": queryPrevious, "served": queryServed, "open": queryOpen,
		"Unfinished": queryUnfinished, "Serves": queryServes, "wasLive": queryWasLive, "Knows": queryKnows, "LiveServices": queryLiveServices, "ServiceIn": queryServiceIn, "Service": queryService, "Standings": queryStandings, "LiveCommits": queryLiveCommits, "Events": queryEvents, "Split": querySplit, "SplitApps": querySplitApps, "LiveBefore": queryLiveBefore,
		"Job": queryJob, "Stop": queryStop, "Stops": queryStops, "Jobs": queryJobPage, "JobsUnderWay": queryJobsUnderWay, "jobs open": queryJobsOpen, "JobsDue": queryJobDue, "old jobs": queryJobOld, "Succeeded": querySucceeded} {
		rows, err := s.db.Query("EXPLAIN QUERY PLAN "+q, make([]any, strings.Count(q, "?"))...)
		if err != nil {
			t.Fatal(name, err)
		}
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			scan := strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "release_states_unfinished") && !strings.Contains(step, "jobs_under_way") && !regexp.MustCompile(`^SCAN a\b`).MatchString(step)
			if scan || strings.Contains(step, "TEMP B-TREE") || strings.HasSuffix(step, "(app=?)") && !strings.Contains(q, "LIMIT") && name != "served" && name != "open" && name != "jobs open" {
				t.Errorf("%s: %s", name, step)
			}
		}
		rows.Close()
	}
}

// After a migration the database of the first gitd has the states that its events add up to.
func TestMigration_ReleaseStates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "old.db")
	l := storetest.Ledger{Apps: []string{"hello", "shop", "blog"}, Releases: 30, Owner: "dev", Commit: strings.Repeat("a", 40)}
	if err := storetest.Fill(t.Context(), file, l); err != nil {
		t.Fatal(err)
	}
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range l.Apps {
		want := fold(t, s, name)
		got, err := s.Ledger(name).Page(t.Context(), 0, 1000)
		if err != nil || len(got) != 30 || len(want) != 30 {
			t.Fatalf("%d releases, %v; by the events %d", len(got), err, len(want))
		}
		for i, r := range got {
			w := want[len(want)-1-i]
			if service, err := s.Ledger(name).Service(t.Context(), r.Version); err != nil && w.service != nil || string(service) != string(w.service) {
				t.Errorf("%s v%d: Service %s, %v; want %s", name, r.Version, service, err, w.service)
			}
			if !reflect.DeepEqual(r, w.Release) {
				t.Errorf("%s v%d:\n%+v, by the events\n%+v", name, r.Version, r, w.Release)
			}
		}
	}
	if r, err := s.Ledger("shop").Live(t.Context()); err != nil || r.Version != 30 || r.Commit != l.Commit {
		t.Errorf("Live = %+v, %v", r, err)
	}
	if r, err := s.AddRelease(t.Context(), app.Release{App: "shop", Commit: "c"}); err != nil || r.Version != 31 {
		t.Errorf("AddRelease = %+v, %v", r, err)
	}
}

// Promotions of an older gitd were recorded as rollbacks, and stay so.
func TestMigration_ReleaseKinds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "old.db")
	if err := storetest.Fill(t.Context(), file, storetest.Ledger{Apps: []string{"hello"}, Releases: 2, Owner: "dev"}); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`INSERT INTO releases VALUES ('hello', 3, 'c', 'refs/heads/main', 'dev', 1);
		INSERT INTO release_events (app, version, at, state, reason, facts) VALUES ('hello', 3, 1, 'received', '', '{}')`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.AddRelease(t.Context(), app.Release{App: "hello", Commit: "c", Kind: app.KindPromotion, Of: 2, Author: "Ada", Subject: "Engine"}); err != nil {
		t.Fatal(err)
	}
	for version, want := range map[int]app.Release{2: {Kind: app.KindPush}, 3: {Kind: app.KindRollback, Of: 1}, 4: {Kind: app.KindPromotion, Of: 2, Author: "Ada", Subject: "Engine"}} {
		if r, err := s.Ledger("hello").Find(t.Context(), version); err != nil || r.Kind != want.Kind || r.Of != want.Of || r.Author != want.Author || r.Subject != want.Subject {
			t.Errorf("v%d: %s of v%d, %v; want %s of v%d", version, r.Kind, r.Of, err, want.Kind, want.Of)
		}
	}
}

// A large ledger is migrated in seconds and read quickly after that.
func TestMigration_Large(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a database of 40 MB")
	}
	var apps []string
	for i := range 50 {
		apps = append(apps, fmt.Sprintf("app-%d", i))
	}
	file := filepath.Join(t.TempDir(), "old.db")
	if err := storetest.Fill(t.Context(), file, storetest.Ledger{Apps: apps, Releases: 200, Owner: "dev"}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Logf("10,000 releases: %s", time.Since(began))
	bounded := func(what string, limit int64) {
		t.Helper()
		if info, err := os.Stat(file + "-wal"); err != nil || info.Size() > limit {
			t.Errorf("%s: the log has %d bytes, %v", what, info.Size(), err)
		}
	}
	bounded("brought up to date", 1<<20)
	for range 300 {
		addRelease(t, s, "app-7", Event{State: app.StateStarting, Revision: "x", Service: storetest.SmallService("app-7", 1)}, Event{State: app.StateFailed})
	}
	bounded("after 300 releases", maxLog)
	if standings, err := s.Standings(t.Context()); err != nil || len(standings) != 50 || standings["app-7"] != (Standing{200, 500, app.StateFailed, false, false}) {
		t.Fatal(standings, err)
	}
	if open, err := s.Unfinished(t.Context()); err != nil || len(open) > 0 {
		t.Fatal(open, err)
	}
}

type folded struct {
	app.Release
	service []byte
}

// fold adds up the events of an app's releases, oldest first, without the table of states.
func fold(t *testing.T, s *Store, name string) []folded {
	t.Helper()
	rows, err := s.db.QueryContext(context.Background(), `SELECT r.app, r.version, r.commit_id, r.ref, r.key, r.rollback_of, e.at, e.state, e.reason, e.facts
		FROM releases r JOIN release_events e USING (app, version) WHERE r.app = ? ORDER BY r.version, e.id`, name)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []folded
	for rows.Next() {
		var r folded
		var at int64
		var facts string
		var state app.State
		var reason string
		if err := rows.Scan(&r.App, &r.Version, &r.Commit, &r.Ref, &r.Key, &r.Of, &at, &state, &reason, &facts); err != nil {
			t.Fatal(err)
		}
		if n := len(all); n == 0 || all[n-1].Version != r.Version {
			r.Created, r.Kind = time.UnixMilli(at), app.KindPush
			all = append(all, r)
		}
		last := &all[len(all)-1]
		last.State, last.Reason = state, reason
		if state.Final() && last.Finished.IsZero() {
			last.Finished = time.UnixMilli(at)
		}
		var e Event
		if err := json.Unmarshal([]byte(facts), &e); err != nil {
			t.Fatal(err)
		}
		if e.Message != "" {
			last.Message = e.Message
		}
		if e.Digest != "" {
			last.Repository, last.Digest, last.Processes = e.Repository, e.Digest, e.Processes
		}
		if e.Revision != "" {
			last.Revision = e.Revision
		}
		if len(e.Service) > 0 {
			last.service = e.Service
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// What is known of a live release without its Service: whether it takes requests, and whether it gets events.
func TestStore_StandingsOfService(t *testing.T) {
	s, _ := mustOpen(t)
	want := map[string]Standing{}
	for i, e := range []Event{{}, {NoWeb: true}, {GetsEvents: true}, {NoWeb: true, GetsEvents: true}} {
		e.State, e.Revision, e.Service = app.StateStarting, "x", []byte("{}")
		name := fmt.Sprintf("app-%d", i)
		if _, err := s.CreateApp(t.Context(), name, "dev"); err != nil {
			t.Fatal(err)
		}
		addRelease(t, s, name, e, Event{State: app.StateLive})
		want[name] = Standing{1, 1, app.StateLive, e.NoWeb, e.GetsEvents}
	}
	if got, err := s.Standings(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

package store

import (
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// A release that was live can be rolled back to; one that is ready and was never live can be promoted. The one that fails names the other.
func TestLedger_Again(t *testing.T) {
	s, _ := mustOpen(t)
	mustCreate(t, s, "a")
	l := s.Ledger("a")
	ask := func(name string, version, want int, code app.Code) {
		t.Helper()
		if r, err := l.Restorable(t.Context(), version); app.CodeOf(err) != code || err == nil && r.Version != want {
			t.Errorf("roll back, %s: v%d, %v", name, r.Version, err)
		}
	}
	promote := func(name string, version int, next string) {
		t.Helper()
		r, err := l.Promotable(t.Context(), version)
		if _, what := app.Explain(err); next == "" && (err != nil || r.Version != version) || next != "" && (app.CodeOf(err) != app.CodeInvalidInput || what != next) {
			t.Errorf("promote, %s: v%d, %v (%s)", name, r.Version, err, what)
		}
	}
	failed := Event{State: app.StateFailed}
	ask("Empty", 0, 0, app.CodeNotFound)
	addRelease(t, s, "a", wentLive("a", 1)...)
	ask("OnlyOne", 0, 0, app.CodeNotFound)
	addRelease(t, s, "a", wentLive("a", 2)...)
	addRelease(t, s, "a", append(wentLive("a", 3)[:3], failed)...)
	addRelease(t, s, "a", wentLive("a", 4)...)
	ask("Previous", 0, 2, "")
	ask("Named", 1, 1, "")
	ask("NeverLive", 3, 0, app.CodeInvalidInput)
	ask("Unknown", 9, 0, app.CodeNotFound)
	addRelease(t, s, "a", wentLive("a", 2)...)
	ask("AfterARollback", 0, 4, "") // v5 went back to v2: "back" now means v4
	addRelease(t, s, "a", append(wentLive("a", 2)[:3], failed)...)
	ask("AFailedRollback", 6, 0, app.CodeInvalidInput) // v2, whose revision it has, was live

	addRelease(t, s, "a", append(wentLive("a", 7)[:3], Event{State: app.StateReady})...)
	ask("Ready", 7, 0, app.CodeInvalidInput)
	promote("Ready", 7, "")
	promote("WasLive", 1, "bring it back: gitd rollback a v1")
	promote("Failed", 3, "see the releases: gitd releases a")
	promote("AFailedRollback", 6, "see the releases: gitd releases a")
	addRelease(t, s, "a", append(wentLive("a", 7)[2:4], failed)...) // a promotion that failed
	promote("OnceMore", 7, "")
	addRelease(t, s, "a", wentLive("a", 7)[2:]...)
	ask("Promoted", 7, 7, "")
	promote("Promoted", 7, "bring it back: gitd rollback a v7")
	ask("BeforeThePromotion", 0, 5, "")
}

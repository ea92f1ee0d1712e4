package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/gitd-io/gitd/internal/schedule"
)

// restartsVariable says how often the command restarts kills the server, whatever the script says.
const restartsVariable = "GITD_E2E_RESTARTS"

// began is what the command of each schedule prints, once for each start.
const began = "began"

// restarts kills the server of an app with schedules.
type restarts struct {
	w    *world
	ts   *testscript.TestScript
	app  string
	from time.Time // the schedules count from here: no later
	seen map[string]operation.Job
	logs map[string]int // job → how often it began, by what it has written
}

// cmdRestarts kills the server at random moments, every second time right after something is due, and starts it again, sometimes late. Then each due time has
// one job, and each job that is not noted as missed was started once: it has written that it began in a log that outlives the server.
func cmdRestarts(w *world, ts *testscript.TestScript, args []string) (output, error) {
	fl := flag.NewFlagSet("restarts", flag.ContinueOnError)
	n := fl.Int("n", 5, "kills")
	ts.Check(fl.Parse(args))
	if fl.NArg() != 1 || w.clock == nil {
		ts.Fatalf("usage: clock SPEED AHEAD, then restarts -n N APP")
	}
	oftener(ts, n, restartsVariable)
	r := &restarts{w: w, ts: ts, app: fl.Arg(0), from: w.clock.now(), seen: map[string]operation.Job{}, logs: map[string]int{}}
	all, err := r.schedules()
	ts.Check(err)
	for i := range *n {
		if err := r.kill(i); err != nil {
			return output{}, fmt.Errorf("kill %d: %w", i+1, err)
		}
	}
	end, err := r.settle()
	if err != nil {
		return output{}, err
	}
	told, err := r.check(all, end)
	return output{stdout: told}, err
}

// schedules are those of the app.
func (r *restarts) schedules() (all []schedule.Schedule, err error) {
	var listed []operation.Schedule
	if err := askJSON(r.w, r.ts, &listed, "schedules", r.app, "--json"); err != nil {
		return nil, err
	}
	for _, s := range listed {
		all = append(all, schedule.Schedule{Name: s.Name, Cron: s.Schedule, Zone: s.Timezone})
	}
	return all, nil
}

// kill kills the server once, and starts it again.
func (r *restarts) kill(i int) error {
	c := r.w.clock
	minute := time.Minute / time.Duration(c.speed)
	wait := rand.N(minute)
	if i%2 == 0 { // what is due at the next minute is being started
		wait = c.until(c.now().Truncate(time.Minute).Add(time.Minute)) + rand.N(1500*time.Millisecond)
	}
	time.Sleep(wait)
	if _, err := cmdKillServe(r.w, r.ts, nil); err != nil {
		return err
	}
	if rand.N(3) == 0 {
		time.Sleep(rand.N(3 * minute))
	}
	if o, err := cmdServe(r.w, r.ts, nil); err != nil {
		return fmt.Errorf("the server does not start: %w\n%s", err, o.stderr)
	}
	return r.look()
}

// look notes what the ledger says of jobs, which keeps the last 200, and what those have written that have ended.
func (r *restarts) look() error {
	var jobs []operation.Job
	if err := askJSON(r.w, r.ts, &jobs, "jobs", r.app, "-n", "200", "--json"); err != nil {
		return err
	}
	for _, j := range jobs {
		r.seen[j.ID] = j
		b, err := os.ReadFile(filepath.Join(r.w.data, "logs", "jobs", r.app, j.ID+".log"))
		if err != nil && !os.IsNotExist(err) { // not yet, or not any more: the oldest jobs go
			return err
		}
		r.logs[j.ID] = max(r.logs[j.ID], strings.Count(string(b), began))
	}
	return nil
}

// settle stops what is due by taking the server down in order, at a minute that is over, and waits until all that was started has ended.
func (r *restarts) settle() (end time.Time, err error) {
	c := r.w.clock
	end = c.now().Truncate(time.Minute)
	time.Sleep(2 * time.Second) // the server looks at its clock each second
	until, before := time.Now().Add(time.Minute), 0
	for ; ; time.Sleep(100 * time.Millisecond) {
		if err := r.look(); err != nil {
			return end, err
		}
		open := slices.DeleteFunc(r.jobs(), func(j operation.Job) bool { return j.Ended != nil || j.Due == nil || j.Due.After(end) })
		switch {
		case len(open) == 0:
			return end, nil
		case len(open) < before: // on a machine that is busy they end one after the other
			until = time.Now().Add(time.Minute)
		case time.Now().After(until):
			return end, fmt.Errorf("of %d jobs %d do not end: %+v", len(r.seen), len(open), open)
		}
		before = len(open)
	}
}

func (r *restarts) jobs() (all []operation.Job) {
	for _, j := range r.seen {
		all = append(all, j)
	}
	return all
}

// check compares the due times from the first job on with what became of them.
func (r *restarts) check(all []schedule.Schedule, end time.Time) (string, error) {
	became, ran, missed, together := map[string]string{}, 0, 0, map[string]int{}
	for _, j := range r.seen {
		if j.Due == nil || j.Due.After(end) {
			continue
		}
		due := j.Schedule + " " + j.Due.UTC().Format(time.RFC3339)
		if before := became[due]; before != "" {
			return "", fmt.Errorf("%s has two jobs: %s and %s", due, before, j.ID)
		}
		became[due] = j.ID
		want := 1
		if j.State == app.JobMissed {
			want = 0
			missed++
		} else {
			ran++
		}
		if r.logs[j.ID] != want {
			return "", fmt.Errorf("%s: %s is %s (%s) and began %d times", due, j.ID, j.State, j.Reason, r.logs[j.ID])
		}
		if _, n, ok := strings.Cut(j.Reason, ", and "); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(n, " times before"))
			if err != nil {
				return "", fmt.Errorf("%s: %s", j.ID, j.Reason)
			}
			together[j.Schedule] += n
		}
	}
	for _, s := range all {
		times, err := s.Times()
		if err != nil {
			return "", err
		}
		var gone []string
		for at := times.Next(r.from); !at.After(end); at = times.Next(at) {
			if became[s.Name+" "+at.Format(time.RFC3339)] == "" {
				gone = append(gone, at.Format(time.RFC3339))
			}
		}
		if len(gone) != together[s.Name] {
			return "", fmt.Errorf("%s: neither started nor missed: %v", s.Name, gone)
		}
	}
	if ran == 0 {
		return "", fmt.Errorf("nothing was started")
	}
	if err := r.left(end); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d started, %d missed\n", ran, missed), nil
}

// left fails on containers of jobs that ended long before end: a server that is killed before it has removed one leaves that to the next.
func (r *restarts) left(end time.Time) error {
	records, err := filepath.Glob(filepath.Join(r.w.data, "sandbox", "containers", "*", "container.json"))
	if err != nil {
		return err
	}
	for _, file := range records {
		var record struct{ Labels map[string]string }
		b, err := os.ReadFile(file)
		if err != nil { // it went meanwhile
			continue
		}
		if err := json.Unmarshal(b, &record); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		_, number, ok := strings.Cut(record.Labels["gitd.run"], "-job-")
		if j := r.seen["j"+number]; ok && j.Ended != nil && j.Ended.Before(end.Add(-30*time.Minute)) {
			return fmt.Errorf("the container of %s, which ended at %s, is there at %s", j.ID, j.Ended, end)
		}
	}
	return nil
}

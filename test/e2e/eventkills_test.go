package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gitd-io/gitd/internal/operation"
)

// eventKillsVariable says how often the command eventkills kills the server, whatever the script says.
const eventKillsVariable = "GITD_E2E_EVENT_KILLS"

// Of eventkills: how many events are sent in a second, and how many of a hundred may be delivered more than once. That is judged in long runs alone: with
// each kill, those are delivered again that are under way, and these are as many in a short time as in a long one.
const (
	eventRate      = 200
	mostTwice      = 1.0
	manyEventKills = 50
)

// eventKills sends events while the server is killed.
type eventKills struct {
	w     *world
	ts    *testscript.TestScript
	app   string
	token string

	mu sync.Mutex
	// mu guards the following.
	accepted map[string]bool // ids that the broker has answered for with 202
	refused  int
}

// cmdEventKills kills the server at random moments while events come in. Then each event that was accepted has reached the app, whose GET / returns the ids that it got,
// one a line, or is among its dead letters.
func cmdEventKills(w *world, ts *testscript.TestScript, args []string) (output, error) {
	fl := flag.NewFlagSet("eventkills", flag.ContinueOnError)
	n := fl.Int("n", 10, "kills")
	ts.Check(fl.Parse(args))
	if fl.NArg() != 1 {
		ts.Fatalf("usage: eventkills -n N APP")
	}
	oftener(ts, n, eventKillsVariable)
	k := &eventKills{w: w, ts: ts, app: fl.Arg(0), accepted: map[string]bool{}}
	var made operation.NewToken
	if err := askJSON(k.w, k.ts, &made, "events", "token", "create", "kills", "--json"); err != nil {
		return output{}, err
	}
	k.token = made.Token
	stop, sent := make(chan struct{}), make(chan struct{})
	go func() { defer close(sent); k.send(stop) }()
	pause := 500 * time.Millisecond
	if *n >= manyEventKills {
		pause = 4 * time.Second
	}
	for i := range *n {
		time.Sleep(pause/4 + rand.N(2*pause))
		if _, err := cmdKillServe(w, ts, nil); err != nil {
			return output{}, err
		}
		if o, err := cmdServe(w, ts, nil); err != nil {
			return output{}, fmt.Errorf("kill %d: the server does not start: %w\n%s", i+1, err, o.stderr)
		}
	}
	time.Sleep(pause)
	close(stop)
	<-sent
	return k.check(*n)
}

// send sends events until stop is closed.
func (k *eventKills) send(stop <-chan struct{}) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(time.Second / eventRate)
	defer tick.Stop()
	var under sync.WaitGroup
	defer under.Wait()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		id := fmt.Sprintf("k%d", i)
		under.Go(func() {
			q, err := http.NewRequest(http.MethodPost, "http://"+k.w.http+"/", strings.NewReader(id))
			if err != nil {
				return
			}
			q.Host = "broker.localhost"
			for name, v := range map[string]string{"Authorization": "Bearer " + k.token, "Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "/kills", "Ce-Type": "kill"} {
				q.Header.Set(name, v)
			}
			r, err := client.Do(q)
			if err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				r.Body.Close()
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			if err == nil && r.StatusCode == http.StatusAccepted {
				k.accepted[id] = true
			} else {
				k.refused++
			}
		})
	}
}

// check waits until nothing is queued, and compares.
func (k *eventKills) check(kills int) (output, error) {
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		var brokers []operation.Broker
		if err := askJSON(k.w, k.ts, &brokers, "brokers", "--json"); err != nil {
			return output{}, err
		}
		if len(brokers) == 1 && brokers[0].Queued == 0 {
			break
		}
		if time.Now().After(end) {
			return output{}, fmt.Errorf("still queued after a minute: %+v", brokers)
		}
	}
	o, err := cmdHTTP(k.w, k.ts, []string{"-host", k.app, "/"})
	if err != nil {
		return o, err
	}
	times := map[string]int{}
	for _, id := range strings.Fields(o.stdout) {
		times[id]++
	}
	var dead []operation.Event
	if err := askJSON(k.w, k.ts, &dead, "events", "dead", k.app, "-n", "200", "--json"); err != nil {
		return output{}, err
	}
	lost, twice := 0, 0
	for _, e := range dead {
		var of struct{ ID string }
		if err := json.Unmarshal(e.Event, &of); err != nil {
			return output{}, err
		}
		times[of.ID]++
	}
	for id := range k.accepted {
		if times[id] == 0 {
			lost++
		}
		twice += max(times[id]-1, 0)
	}
	share := 100 * float64(twice) / float64(max(len(k.accepted), 1))
	told := fmt.Sprintf("%d kills: %d accepted, %d unanswered, %d lost, %d dead, %d delivered again (%.2f %%)\n", kills, len(k.accepted), k.refused, lost, len(dead), twice, share)
	fmt.Fprint(os.Stderr, "e2e: ", told)
	if lost > 0 || kills >= manyEventKills && share > mostTwice || len(k.accepted) < 20*kills {
		return output{}, fmt.Errorf("%s%s", told, k.instances())
	}
	return output{stdout: told}, nil
}

// instances tells of the app what may explain a loss: it keeps what it got in memory, so that another instance, or one that started again, has not all of it.
func (k *eventKills) instances() string {
	ps, _ := cmdGitd(k.w, k.ts, []string{"ps", k.app})
	logs, _ := cmdGitd(k.w, k.ts, []string{"logs", k.app})
	return ps.stdout + logs.stdout[max(0, len(logs.stdout)-4000):]
}

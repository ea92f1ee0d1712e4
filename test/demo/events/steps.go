package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// patience is how long an event may take: functions start from zero, and are tried again.
const patience = 2 * time.Minute

// event is what gitd tells of one, as far as it is read here.
type event struct {
	ID    string
	Event struct{ Type, Subject string }

	Deliveries []struct{ App, Trigger, State string }
}

// chain is the events of one picture.
type chain []event

// delivered says whether the event of a type was delivered to an app's trigger.
func (c chain) delivered(app, trigger, kind string) bool {
	for _, e := range c {
		for _, d := range e.Deliveries {
			if e.Event.Type == kind && d.App == app && d.Trigger == trigger && d.State == "delivered" {
				return true
			}
		}
	}
	return false
}

// webhook learns the webhook's URL and its secret.
func (s *story) webhook() error {
	var all []struct{ URL string }
	if err := s.shows(&all, "webhooks", "upload"); err != nil {
		return err
	}
	var config struct {
		Variables []struct{ Name, Value string }
	}
	if err := s.json(&config, "config", "upload", "--show"); err != nil {
		return err
	}
	for _, v := range config.Variables {
		if v.Name == "UPLOAD_SECRET" {
			s.secret = v.Value
		}
	}
	if len(all) != 1 || s.secret == "" {
		return fmt.Errorf("upload has %d webhooks, and a secret of %d characters", len(all), len(s.secret))
	}
	s.url = all[0].URL
	return nil
}

// sent is how a webhook was answered.
type sent struct {
	status int
	event  string
}

// post sends a picture as the service would, by Standard Webhooks: signed, or with a signature that is not the service's.
func (s *story) post(name, id string, picture []byte, signed bool) (answer sent) {
	body, err := json.Marshal(map[string]any{"type": "picture.uploaded", "timestamp": time.Now().UTC(), "data": map[string]any{"name": name, "picture": picture}})
	if err != nil {
		panic(err) // it cannot fail
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(s.secret))
	fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	signature := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if !signed {
		signature = "v1," + base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(s.url, "http://"), "/")
	q, err := http.NewRequestWithContext(s.ctx, http.MethodPost, "http://"+s.HTTP+"/"+path, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	q.Host = strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/"+path)
	for k, v := range map[string]string{"content-type": "application/json", "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature} {
		q.Header.Set(k, v)
	}
	fmt.Printf("$ curl %s -H 'webhook-id: %s' -H 'webhook-timestamp: …' -H 'webhook-signature: %.12s…' --data-binary @%s.json\n", s.url, id, signature, name)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		fmt.Println(err)
		return answer
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(r.Body, 1<<10))
	answer = sent{r.StatusCode, r.Header.Get("Gitd-Event")}
	fmt.Println(strings.TrimSpace(r.Status + " " + answer.event + " " + string(text)))
	return answer
}

// became waits until there is an event of a type about a picture, and nothing of the events before it is on its way.
func (s *story) became(kind, picture string) (all chain, err error) {
	err = s.until(fmt.Sprintf("%s of %s", kind, picture), func() (bool, error) {
		if err := s.json(&all, "events", "list"); err != nil {
			return false, err
		}
		there := false
		for _, e := range all {
			there = there || e.Event.Type == kind && e.Event.Subject == picture
			for _, d := range e.Deliveries {
				if e.Event.Type != kind && d.State == "queued" {
					return false, nil
				}
			}
		}
		return there, nil
	})
	return all, err
}

// count is how many events of a type there are.
func (s *story) count(kind string) (int, error) {
	var all chain
	err := s.json(&all, "events", "list", "--type", kind)
	return len(all), err
}

// dead waits for a dead letter of an app, shows it, and returns its event.
func (s *story) dead(app string) (number string, err error) {
	err = s.until("a dead letter of "+app, func() (bool, error) {
		var all []event
		if err := s.json(&all, "events", "dead", app); err != nil || len(all) == 0 {
			return false, err
		}
		number = all[0].ID
		return true, nil
	})
	if err != nil {
		return "", err
	}
	return number, s.run(nil, s.Gitd, "events", "dead", app, "--data", s.Data())
}

// logged waits until an app has written a line with a text, and returns the line.
func (s *story) logged(app, text string) (line string, err error) {
	err = s.until(fmt.Sprintf("%q in the log of %s", text, app), func() (bool, error) {
		out, err := s.output("logs", app)
		for _, l := range strings.Split(string(out), "\n") {
			if i := strings.Index(l, text); i >= 0 {
				line = l[i:]
				fmt.Printf("$ gitd logs %s\n%s\n", app, l)
				return true, nil
			}
		}
		return false, err
	})
	return line, err
}

// until asks until the answer is yes.
func (s *story) until(what string, yes func() (bool, error)) error {
	for end := time.Now().Add(patience); ; {
		ok, err := yes()
		if err != nil || ok {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: not there after %s", what, patience)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// shows runs a command of gitd for people, and reads what it says as JSON.
func (s *story) shows(into any, args ...string) error {
	if err := s.run(nil, s.Gitd, append(args, "--data", s.Data())...); err != nil {
		return err
	}
	return s.json(into, args...)
}

func (s *story) json(into any, args ...string) error {
	out, err := s.output(append(args, "--json")...)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, into)
}

func (s *story) output(args ...string) ([]byte, error) {
	c := exec.CommandContext(s.ctx, s.Gitd, append(args, "--data", s.Data())...)
	c.Env = s.Env()
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("gitd %s: %w", strings.Join(args, " "), err)
	}
	return out, err
}

// run shows a command and runs it, with an environment in which git and ssh see nothing of the user's settings.
func (s *story) run(stdin io.Reader, name string, args ...string) error {
	return s.Show(s.ctx, s.Dir+"/", stdin, name, args...)
}

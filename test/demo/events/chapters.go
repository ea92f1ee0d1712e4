package main

import (
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/test/stage"
)

func (s *story) begin() error {
	stage.Title("A server, and a developer's key")
	if err := s.Open(s.ctx); err != nil {
		return err
	}
	return s.Register(s.ctx)
}

// push pushes each function as it is in the folder, and learns where the webhook is.
func (s *story) push() error {
	stage.Title("Five functions, by git push")
	for _, name := range functions {
		work := filepath.Join(s.Dir, name)
		if err := os.CopyFS(work, os.DirFS(filepath.Join("examples/pictures", name))); err != nil {
			return err
		}
		for _, args := range [][]string{
			{"init", "--quiet", "--initial-branch=main"}, {"add", "."}, {"commit", "--quiet", "--message=" + name},
			{"remote", "add", "platform", "ssh://git@" + s.SSH + "/" + name},
		} {
			if err := s.Run(s.ctx, "git", append([]string{"-C", work}, args...)...); err != nil {
				return err
			}
		}
		if err := s.run(nil, "git", "-C", work, "push", "platform", "main"); err != nil {
			return err
		}
	}
	var all []struct{ App, Contract, Language, State string }
	if err := s.shows(&all, "functions"); err != nil {
		return err
	}
	live := 0
	for _, f := range all {
		if f.State == "live" {
			live++
		}
	}
	s.holds(live == len(functions), "%d functions are live", live)
	return s.webhook()
}

// picture sends a picture by the webhook, and gets it back smaller.
func (s *story) picture() error {
	stage.Title("A picture, by a signed webhook")
	sent := s.post("cat.png", "msg-1", drawn(256), true)
	s.holds(sent.status == http.StatusAccepted && sent.event != "", "the webhook is accepted: event %s", sent.event)
	last, err := s.became("picture.stored", "cat.png")
	if err != nil {
		return err
	}
	s.holds(last.delivered("store", "resized", "picture.resized") && last.delivered("thumbnail", "received", "picture.received"), "it went from upload by thumbnail to store")
	if err := s.run(nil, s.Gitd, "events", "list", "--data", s.Data()); err != nil {
		return err
	}
	fmt.Println("$ curl http://store.localhost/cat.png")
	r, err := s.Get(s.ctx, "store", "/cat.png")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	small, err := png.DecodeConfig(r.Body)
	if err != nil {
		return fmt.Errorf("what store has is no PNG: %s: %w", r.Status, err)
	}
	fmt.Printf("PNG, %d by %d\n", small.Width, small.Height)
	s.holds(small.Width == 32 && small.Height == 32, "store has the picture, %d by %d", small.Width, small.Height)
	return nil
}

// refused sends what is no event of the webhook's.
func (s *story) refused() error {
	stage.Title("A webhook that is forged, and one that comes twice")
	s.holds(s.post("cat.png", "msg-2", drawn(8), false).status == http.StatusUnauthorized, "a wrong signature is refused with 401")
	again := s.post("cat.png", "msg-1", drawn(256), true)
	n, err := s.count("picture.uploaded")
	s.holds(again.status == http.StatusAccepted && n == 1, "one that is sent twice is one event")
	return err
}

// noChannel shows the dead letter of notify, repairs what it lacks, and has the event delivered.
func (s *story) noChannel() error {
	stage.Title("notify fails: its dead letter waits, and is retried")
	number, err := s.dead("notify")
	if err != nil {
		return err
	}
	if err := s.run(nil, s.Gitd, "events", "show", number, "--data", s.Data()); err != nil {
		return err
	}
	s.holds(true, "notify has no channel: %s is its dead letter", number)
	for _, args := range [][]string{{"config", "set", "notify", "CHANNEL=#pictures"}, {"events", "retry", "notify"}} {
		if err := s.run(nil, s.Gitd, append(args, "--data", s.Data())...); err != nil {
			return err
		}
	}
	line, err := s.logged("notify", "#pictures: cat.png is stored")
	if err != nil {
		return err
	}
	s.holds(true, "with a channel, a retry delivers it: %s", line)
	var left []event
	err = s.json(&left, "events", "dead", "notify")
	s.holds(len(left) == 0, "notify has no dead letter any more")
	return err
}

// noPicture sends what is no PNG: it goes to the function that takes dead letters.
func (s *story) noPicture() error {
	stage.Title("A picture that is none: lost takes the dead letter")
	s.post("broken.png", "msg-3", []byte("no picture at all"), true)
	line, err := s.logged("lost", "lost: broken.png: 500")
	if err != nil {
		return err
	}
	s.holds(true, "what cannot be made smaller is given to lost: %s", line)
	r, err := s.Get(s.ctx, "store", "/broken.png")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	s.holds(r.StatusCode == http.StatusNotFound, "store has nothing of it")
	return err
}

// drawn is a PNG.
func drawn(side int) []byte {
	p := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range p.Pix {
		p.Pix[i] = byte(i*i>>8) | 0x80
	}
	var out strings.Builder
	_ = png.Encode(&out, p) // it writes into memory
	return []byte(out.String())
}

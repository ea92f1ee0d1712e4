package knative

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/keeper"
)

// Letters are many, and their events are large: lists are of letters without their events, and those are read where they are needed.

// letters reads letters without their events, the newest first: of an app, of an event, or with 0 of all.
func (p *Platform) letters(ctx context.Context, appID, number int64) (all []keeper.Letter, err error) {
	q := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if appID != 0 {
		q.Set("app", strconv.FormatInt(appID, 10))
	}
	if number != 0 {
		q.Set("number", strconv.FormatInt(number, 10))
	}
	for {
		page, err := lines[keeper.Letter](p.ask(ctx, http.MethodGet, "/letters", q, nil))
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < pageSize {
			return all, nil
		}
		q.Set("before", strconv.FormatInt(page[len(page)-1].ID, 10))
	}
}

// full calls do with letters and their events, in their order, until it returns false. Those that are gone meanwhile are left out.
func (p *Platform) full(ctx context.Context, all []keeper.Letter, do func(keeper.Letter) bool) error {
	for len(all) > 0 {
		var ids []string
		for _, l := range all[:min(len(all), pageSize)] {
			ids = append(ids, strconv.FormatInt(l.ID, 10))
		}
		page, err := lines[keeper.Letter](p.ask(ctx, http.MethodGet, "/letters", url.Values{"ids": {strings.Join(ids, ",")}}, nil))
		if err != nil {
			return err
		}
		for _, l := range page {
			if !do(l) {
				return nil
			}
		}
		next := len(ids)
		if len(page) > 0 { // the keeper ends an answer that gets long, and not before it has one
			last := page[len(page)-1].ID
			next = 1 + slices.IndexFunc(all, func(l keeper.Letter) bool { return l.ID == last })
		}
		all = all[max(next, 1):]
	}
	return nil
}

// genuine leaves out letters of events that their trigger does not take. For a moment after a trigger was replaced, Knative takes every event to the one before, and what
// it then cannot deliver has nothing that says where to.
func (p *Platform) genuine(ctx context.Context, all []keeper.Letter, live []event.Live) ([]keeper.Letter, error) {
	of := func(l keeper.Letter) int {
		return slices.IndexFunc(live, func(t event.Live) bool { return t.ID == l.AppID && t.Name == l.Trigger })
	}
	var doubtful []keeper.Letter
	for _, l := range all {
		if l.Failure.Destination == "" && l.Again == nil && l.From.Kind != event.FromSource && of(l) >= 0 {
			doubtful = append(doubtful, l)
		}
	}
	not := map[int64]bool{}
	err := p.full(ctx, doubtful, func(l keeper.Letter) bool {
		i := of(l)
		e, err := event.Parse(l.Event)
		not[l.ID] = err == nil && len(passing(live[i:i+1], l.Broker, &e)) == 0
		return true
	})
	return slices.DeleteFunc(all, func(l keeper.Letter) bool { return not[l.ID] }), err
}

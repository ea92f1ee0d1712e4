package receive

import (
	"context"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/repository"
)

const tagPrefix = "refs/tags/"

// findTags notes which refs beside the one that is deployed are annotated tags. git sends those by itself where push.followTags is set: they
// must not make a deployment look failed.
func (p *push) findTags(ctx context.Context, q *repository.Quarantine) error {
	var ids []string
	for _, c := range p.request.commands {
		if !c.deletes() && strings.HasPrefix(c.name, tagPrefix) {
			ids = append(ids, c.new)
		}
	}
	annotated, err := q.AnnotatedTags(ctx, ids)
	if err != nil {
		return err
	}
	for _, c := range p.request.commands {
		c.annotated = annotated[c.new] && strings.HasPrefix(c.name, tagPrefix)
	}
	return nil
}

// maxTagRemarks is how many tags are named.
const maxTagRemarks = 5

// leaveTags accepts the annotated tags that came with a deployment, and does not keep them: git then succeeds, and the log says so.
// Where another ref was asked for as well, the push cannot end well, and tags are refused as ever.
func (p *push) leaveTags(deploy *refCommand) {
	if slices.ContainsFunc(p.request.commands, func(c *refCommand) bool {
		return !c.annotated && c != deploy && c.name != repository.RefMain && c.name != repository.RefMaster
	}) {
		return
	}
	deployed := deploy != nil && deploy.reason == ""
	left := 0
	for _, c := range p.request.commands {
		switch {
		case !c.annotated:
		case !deployed:
			c.reason = "nothing was deployed"
		default:
			c.reason = ""
			if left++; left <= maxTagRemarks {
				p.log.Detail("the tag %s is not kept here: only main is deployed", app.Plain(app.Clip(c.name[len(tagPrefix):], 60)))
			}
		}
	}
	if left > maxTagRemarks {
		p.log.Detail("and so are %s", app.Count(left-maxTagRemarks, "other tag"))
	}
}

package receive

import (
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/repository"
)

// here is what an app's repository has when a push begins.
type here struct {
	live     string            // the ref that is live, or ""
	branches map[string]string // those that have a live preview, with their commits
}

// choose finds the command that deploys, and gives every other one that does nothing the reason why. It returns nil where nothing deploys; some commands may
// remove previews then.
func choose(commands []*refCommand, at here, atomic bool) *refCommand {
	var deploy *refCommand
	var previews []*refCommand
	hasMain := at.live == repository.RefMain
	for _, c := range commands {
		hasMain = hasMain || c.name == repository.RefMain && !c.deletes()
	}
	for _, c := range commands {
		branch, isBranch := strings.CutPrefix(c.name, "refs/heads/")
		switch {
		case c.deletes():
			c.choosesDeletion(at)
		case c.name == repository.RefMain, c.name == repository.RefMaster && !hasMain:
			deploy = c
		case strings.HasPrefix(c.name, "refs/tags/"):
			c.reason = "tags are not deployed: git push platform " + app.Plain(app.Clip(c.name[len("refs/tags/"):], 60)) + "^{commit}:refs/heads/main"
		case isBranch && at.live != "" && c.name != repository.RefMaster:
			c.branch = branch
			previews = append(previews, c)
		case isBranch:
			c.reason = "only main is deployed: git push platform " + app.Plain(app.Clip(branch, 60)) + ":main"
		default:
			c.reason = "only main is deployed: git push platform HEAD:main"
		}
	}
	if deploy = choosePreview(deploy, previews, at); !atomic || len(commands) == 1 {
		return deploy
	}
	return allOrNothing(commands, deploy)
}

// choosesDeletion finds out whether a deletion removes a preview.
func (c *refCommand) choosesDeletion(at here) {
	branch := strings.TrimPrefix(c.name, "refs/heads/")
	switch {
	case c.name == at.live || c.name == repository.RefMain:
		c.reason = branch + " is live and cannot be deleted; to remove the app: apps destroy APP"
	case at.branches[branch] != "" && branch != c.name:
		c.branch, c.removes = branch, true
	default:
		c.reason = "it does not exist here"
	}
}

// choosePreview returns the command that deploys, where these branches were pushed beside it: a preview is pushed by itself.
func choosePreview(deploy *refCommand, previews []*refCommand, at here) *refCommand {
	for _, c := range previews {
		shown := app.Plain(app.Clip(c.branch, 60))
		err := app.CheckBranch(c.branch)
		if err == nil {
			err = repository.RoomForBranch(c.branch, at.branches)
		}
		switch {
		case err != nil:
			c.reason = app.OneLine(err)
		case deploy != nil:
			c.reason = "one branch is deployed at a time: git push platform " + shown
		case len(previews) > 1:
			c.reason = "one branch is deployed at a time; for a preview of this one: git push platform " + shown
		default:
			return c
		}
	}
	return deploy
}

// allOrNothing refuses all commands of an atomic push if one is refused, or if one deploys beside others.
func allOrNothing(commands []*refCommand, deploy *refCommand) *refCommand {
	refused := deploy != nil
	for _, c := range commands {
		refused = refused || c.reason != ""
	}
	for _, c := range commands {
		if refused && c.reason == "" {
			c.reason, c.removes = "atomic push: another ref was refused", false
		}
	}
	if refused {
		return nil
	}
	return deploy
}

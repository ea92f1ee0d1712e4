package receive

import (
	"context"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// git with push.followTags sends annotated tags beside main: the push ends well where main is live, and says what came of the tags. A
// tag that was pushed by name, or of another kind, is refused as ever.
func TestFollowTags(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("tagged")
	fx.Git(dir, "tag", "-a", "-m", "v1", "v1")
	fx.Git(dir, "-c", "push.followTags=true", "push", "platform", "main")
	head := fx.Git(dir, "rev-parse", "HEAD")
	fx.live("tagged", head)
	if refs := fx.Git(dir, "ls-remote", "platform"); strings.Contains(refs, "v1") {
		t.Error(refs)
	}
	top := fx.Commit(dir, "b", "b")
	for _, v := range []string{"v2", "v3", "v4", "v5", "v6", "v7"} {
		fx.Git(dir, "tag", "-a", "-m", v, v)
	}
	all, err := fx.Try(dir, "-c", "push.followTags=true", "push", "platform", "main")
	if err != nil {
		t.Fatalf("%v\n%s", err, all)
	}
	gittest.MustHold(t, all, "the tag v1 is not kept here: only main is deployed", "* [new tag]")
	fx.live("tagged", top)
	fx.Git(dir, "tag", "light")
	fx.Commit(dir, "c", "c")
	fx.Rejected(dir, []string{"main -> main", "[remote rejected] light -> light (tags are not deployed"}, "push", "platform", "main", "light")
	fx.h.setDeploy(func(context.Context, *Push) error {
		return app.Errorf(app.CodeBuildFailed, "fix it", "the build failed")
	})
	fx.Commit(dir, "d", "d")
	fx.Rejected(dir, []string{"[remote rejected] main -> main (the build failed)", "[remote rejected] v1 -> v1 (nothing was deployed)"}, "-c", "push.followTags=true", "push", "platform", "main")
}

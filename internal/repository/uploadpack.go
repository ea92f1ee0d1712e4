package repository

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/gitd-io/gitd/internal/tail"
)

// uploadSettings show what is live, of previews too, and nothing else, and allow partial clones by the filters that cost no more than a whole one.
var uploadSettings = []string{
	"-c", "uploadpack.hideRefs=refs/", "-c", "uploadpack.hideRefs=!" + refHeads,
	"-c", "uploadpack.allowFilter=true", "-c", "uploadpackfilter.allow=false", "-c", "uploadpackfilter.blob:none.allow=true",
	"-c", "uploadpackfilter.blob:limit.allow=true", "-c", "uploadpackfilter.tree.allow=true", "-c", "uploadpackfilter.tree.maxDepth=16",
}

// UploadPack has git serve a fetch of what is live, and nothing else, by the protocol that GIT_PROTOCOL names. What fails once it has begun is a
// *GitError. It reads from in until that ends, also when it has returned.
func (r *Repository) UploadPack(ctx context.Context, protocol string, in io.Reader, out io.Writer) error {
	defer r.Read()()
	o := objects{repository: r.path}
	c := o.command(ctx, slices.Concat(uploadSettings, []string{"upload-pack", "--strict", r.path})...)
	if protocol != "" {
		c.Env = append(c.Env, "GIT_PROTOCOL="+protocol)
	}
	stdin, err := c.StdinPipe()
	if err != nil {
		return err
	}
	var stderr tail.Tail
	c.Stdout, c.Stderr = out, &stderr
	if err := c.Start(); err != nil {
		return err
	}
	go func() { // ends with in
		defer stdin.Close()
		_, _ = io.CopyBuffer(struct{ io.Writer }{stdin}, struct{ io.Reader }{in}, make([]byte, 64<<10))
	}()
	if err := c.Wait(); err != nil {
		return &GitError{command: "upload-pack", lines: complaints(&stderr), err: err}
	}
	return nil
}

// HungUp says whether a fetch ended because the client left, as git ls-remote and a fetch of nothing do.
func HungUp(err error) bool {
	var g *GitError
	return errors.As(err, &g) && g.says("hung up unexpectedly")
}

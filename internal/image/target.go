package image

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// Target is a place for images in a registry.
type Target struct {
	remote     *registry.Remote
	repository string
	Tag        string
}

// ParseTarget reads a reference such as registry.example.com/team/gitd:1 and asks the registry whether it may be written to. config is a
// docker config.json, "" for the usual places. The errors are *app.Error.
func ParseTarget(ctx context.Context, reference, config string, insecure bool) (*Target, error) {
	const next = "name it as in --push registry.example.com/team/gitd:1"
	tag, err := name.NewTag(reference)
	if err != nil {
		return nil, app.Errorf(app.CodeInvalidInput, next, "%q is not a reference that an image can be pushed to: %w", reference, err)
	}
	path := tag.RepositoryStr()
	host, _, _ := strings.Cut(reference, "/")
	if !strings.ContainsAny(host, ".:") && host != "localhost" || host == reference {
		return nil, app.Errorf(app.CodeInvalidInput, next, "%q does not begin with the host of a registry", reference)
	}
	dir, last := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, last = path[:i+1], path[i+1:]
	}
	r, err := registry.OpenRemote(registry.RemoteOptions{Prefix: strings.TrimSuffix(host+"/"+dir, "/"), Config: config, Insecure: insecure})
	if err != nil {
		return nil, err
	}
	if err := r.Check(ctx); err != nil {
		return nil, err
	}
	return &Target{remote: r, repository: last, Tag: tag.TagStr()}, nil
}

// Reference is the name of an image there.
func (t *Target) Reference(tag string) string {
	return t.remote.Prefix() + "/" + t.repository + ":" + tag
}

// Push puts an image there and returns its reference by digest. It tells how far it is.
func (t *Target) Push(ctx context.Context, tag string, img v1.Image, log *app.Log) (string, error) {
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	log.Step("Pushing %s", t.Reference(tag))
	last, began := time.Now(), time.Now()
	var all int64
	err = t.remote.Write(ctx, t.repository, tag, img, func(sent, total int64) {
		all = total
		if time.Since(last) >= 2*time.Second {
			last = time.Now()
			log.Detail("%s of %s", app.Size(sent), app.Size(total))
		}
	})
	if err != nil {
		return "", err
	}
	reference := t.remote.Prefix() + "/" + t.repository + "@" + digest.String()
	log.Detail("%s in %s: %s", app.Size(all), app.Elapsed(time.Since(began)), reference)
	return reference, nil
}

// Layout writes an image into an OCI layout, under a name. The folder is made, or must be such a layout; an image of that name is replaced.
func Layout(dir, as string, img v1.Image) error {
	refuse := func(err error) error {
		return app.Errorf(app.CodeUnavailable, "name a folder that can be written: --output oci:DIR", "the image cannot be written to %s: %w", dir, err)
	}
	p, err := layout.FromPath(dir)
	if err != nil {
		if entries, e := os.ReadDir(dir); e == nil && len(entries) > 0 {
			return app.Errorf(app.CodeInvalidInput, "name an empty folder, or one that does not exist yet", "%s is no OCI layout, and not empty", dir)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755); err != nil {
			return refuse(err)
		}
		if p, err = layout.Write(dir, empty.Index); err != nil {
			return refuse(err)
		}
	}
	const refName = "org.opencontainers.image.ref.name"
	same := func(d v1.Descriptor) bool { return d.Annotations[refName] == as }
	if err := p.ReplaceImage(img, same, layout.WithAnnotations(map[string]string{refName: as})); err != nil {
		return refuse(err)
	}
	return nil
}

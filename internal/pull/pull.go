// Package pull brings images out of other people's registries: it finds out what a reference means, and fetches it with everything checked. The
// image, its registry and what it says of itself are not trusted, and who names them may make this machine talk to public addresses only.
package pull

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Bounds of what a registry may answer.
const (
	maxReference = 512
	maxConfig    = 4 << 20
	maxLayers    = 250
	askTime      = 30 * time.Second // that one question may take; layers take as long as the caller's context lets them
)

// Options say where images may come from.
type Options struct {
	Allowed []netip.Prefix // networks that are not public, and may be asked all the same
	Most    int64          // bytes that an image may have, as it is sent and unpacked
}

// Wanted is an image that is asked for.
type Wanted struct {
	Reference string // as docker pull takes it: "nginx", "registry.example.com/team/app:v1@sha256:…"
	Username  string // "" for an anonymous client
	Password  string
}

// Found is an image in another registry.
type Found struct {
	Reference string // in full, with the digest that it had when it was found
	Short     string // without the digest
	Config    v1.Config
	Labels    map[string]string
	Size      int64 // bytes of its layers, as they are sent

	o      Options
	host   string
	image  v1.Image
	config *v1.ConfigFile
	layers []v1.Descriptor
}

// CheckReference returns an *app.Error where a reference is none.
func CheckReference(s string) error {
	_, err := parse(s)
	return err
}

func parse(s string) (name.Reference, error) {
	const next = "name it as in registry.example.com/team/app:v1"
	if len(s) > maxReference {
		return nil, app.Errorf(app.CodeInvalidInput, next, "the reference of the image is longer than %d characters", maxReference)
	}
	ref, err := name.ParseReference(s)
	if err != nil || strings.ContainsAny(s, " \t\r\n") {
		return nil, app.Errorf(app.CodeInvalidInput, next, "%q is not the reference of an image", app.Plain(s))
	}
	return ref, nil
}

// Find asks the registry what a reference means. It returns an *app.Error: CodeInvalidInput for what is no image that this machine can run,
// CodeNotFound, CodeForbidden, CodeLimitExceeded, or CodeUnavailable where the registry does not answer.
func Find(ctx context.Context, w Wanted, o Options) (*Found, error) {
	ref, err := parse(w.Reference)
	if err != nil {
		return nil, err
	}
	auth := authn.Anonymous
	if w.Username != "" {
		auth = authn.FromConfig(authn.AuthConfig{Username: w.Username, Password: w.Password})
	}
	f := &Found{o: o, host: ref.Context().RegistryStr()}
	asked, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	options := []remote.Option{remote.WithAuth(auth), remote.WithTransport(newTransport(o.Allowed)), remote.WithUserAgent("gitd")}
	d, err := remote.Get(ref, append(options, remote.WithContext(asked))...)
	if err != nil {
		return nil, words(asked, ref, w, err)
	}
	f.Short = ref.Name()
	if n, _, pinned := strings.Cut(f.Short, "@"); pinned {
		f.Short = n
	}
	f.Reference = f.Short + "@" + d.Digest.String()
	chosen := d.Digest
	if d.MediaType.IsIndex() {
		if chosen, err = choose(d, w.Reference); err != nil {
			return nil, err
		}
	} else if !d.MediaType.IsImage() {
		return nil, app.Errorf(app.CodeInvalidInput, "name an image", "%s is not an image, but %s", app.Plain(w.Reference), app.Plain(app.Clip(string(d.MediaType), 100)))
	}
	// Layers are read later, with a context of their own.
	if f.image, err = remote.Image(ref.Context().Digest(chosen.String()), append(options, remote.WithContext(ctx))...); err != nil {
		return nil, words(asked, ref, w, err)
	}
	if err := f.read(w.Reference); err != nil {
		var told *app.Error
		if asError(err, &told) {
			return nil, err
		}
		return nil, words(asked, ref, w, err)
	}
	return f, nil
}

// choose returns the image of an index that runs on this machine.
func choose(d *remote.Descriptor, reference string) (v1.Hash, error) {
	wrong := func(has string) error {
		return app.Errorf(app.CodeInvalidInput, "name an image for linux/"+runtime.GOARCH+", or build it for that platform", "%s has no image for linux/%s (it has: %s)", app.Plain(reference), runtime.GOARCH, has)
	}
	index, err := d.ImageIndex()
	if err != nil {
		return v1.Hash{}, wrong("nothing that can be read")
	}
	m, err := index.IndexManifest()
	if err != nil {
		return v1.Hash{}, wrong("nothing that can be read")
	}
	var has []string
	for _, c := range m.Manifests {
		if c.Platform == nil || !c.MediaType.IsImage() {
			continue
		}
		if c.Platform.OS == "linux" && c.Platform.Architecture == runtime.GOARCH {
			return c.Digest, nil
		}
		if c.Platform.OS != "unknown" && len(has) < 10 { // unknown/unknown: attestations
			has = append(has, app.Plain(app.Clip(c.Platform.OS+"/"+c.Platform.Architecture, 40)))
		}
	}
	if len(has) == 0 {
		return v1.Hash{}, wrong("no image")
	}
	return v1.Hash{}, wrong(strings.Join(has, ", "))
}

// read reads the manifest and the configuration, and refuses what cannot run here.
func (f *Found) read(reference string) error {
	m, err := f.image.Manifest()
	if err != nil {
		return err
	}
	tooLarge := func(format string, args ...any) error {
		return app.Errorf(app.CodeLimitExceeded, "make the image smaller, or ask the operator (gitd serve --build-disk)", format, args...)
	}
	if m.Config.Size > maxConfig || len(m.Layers) > maxLayers {
		return tooLarge("the image has %d layers and a configuration of %s; at most %d and %s are taken", len(m.Layers), app.Size(m.Config.Size), maxLayers, app.Size(maxConfig))
	}
	for _, l := range m.Layers {
		if l.Size < 0 || !l.MediaType.IsLayer() || !l.MediaType.IsDistributable() {
			return app.Errorf(app.CodeInvalidInput, "name an image of ordinary layers", "%s has a layer of type %s, which cannot be run", app.Plain(reference), app.Plain(app.Clip(string(l.MediaType), 100)))
		}
		if f.Size += l.Size; f.Size > f.o.Most || f.Size < 0 {
			return tooLarge("the image's layers have more than %s together", app.Size(f.o.Most))
		}
	}
	if f.config, err = f.image.ConfigFile(); err != nil {
		return err
	}
	f.layers, f.Config, f.Labels = m.Layers, f.config.Config, f.config.Config.Labels
	if f.config.OS != "linux" || f.config.Architecture != runtime.GOARCH {
		return app.Errorf(app.CodeInvalidInput, "build it for linux/"+runtime.GOARCH, "%s is for %s, and this server runs linux/%s", app.Plain(reference),
			app.Plain(app.Clip(fmt.Sprintf("%s/%s", f.config.OS, f.config.Architecture), 40)), runtime.GOARCH)
	}
	if len(f.config.RootFS.DiffIDs) != len(m.Layers) || len(m.Layers) == 0 {
		return app.Errorf(app.CodeInvalidInput, "build the image again", "%s has %d layers, and names %d", app.Plain(reference), len(m.Layers), len(f.config.RootFS.DiffIDs))
	}
	return nil
}

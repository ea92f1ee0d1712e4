package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"
	"github.com/gitd-io/gitd/internal/app"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// askTime bounds a question to a registry that comes without a context.
const askTime = 2 * time.Minute

// RemoteOptions name a registry.
type RemoteOptions struct {
	// Prefix is what stands before the names of repositories: "registry.example.com", "registry.example.com/team".
	Prefix string
	// Config is a docker config.json with credentials; credential helpers that it names are asked. "": the usual places (~/.docker/config.json).
	Config string
	// Insecure says that it speaks plain HTTP. Without it nothing goes out unencrypted, but to this machine.
	Insecure bool
	// State is a file that remembers which images are ours to delete; "": they are forgotten when the process ends.
	State string
	Log   func(format string, args ...any) // may be nil
}

// Remote is a registry outside of gitd.
type Remote struct {
	o        RemoteOptions
	registry name.Registry
	keychain authn.Keychain
	client   http.RoundTripper
	now      func() time.Time
	deletes  time.Duration // that one deletion may take

	mu sync.Mutex // mu guards the following

	pushed map[string]map[string]time.Time // repository → digest → when
	keeps  bool                            // it refuses to delete, and has said so
}

// OpenRemote reads the names and the credentials; it asks the registry nothing: Check does. The errors are *app.Error.
func OpenRemote(o RemoteOptions) (*Remote, error) {
	const next = "name it as in --registry registry.example.com/team"
	o.Prefix = strings.TrimSuffix(o.Prefix, "/")
	host, path, _ := strings.Cut(o.Prefix, "/")
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		return nil, app.Errorf(app.CodeInvalidInput, next, "%q does not begin with the host of a registry", o.Prefix)
	}
	r := &Remote{o: o, now: time.Now, client: answerWithin(askTime), deletes: deleteTime}
	var options []name.Option
	if o.Insecure {
		options = append(options, name.Insecure)
	} else {
		r.client = encrypted{r.client}
	}
	var err error
	if r.registry, err = name.NewRegistry(host, append(options, name.StrictValidation)...); err != nil {
		return nil, app.Errorf(app.CodeInvalidInput, next, "%q is not a registry: %w", host, err)
	}
	if path != "" && !repositoryForm.MatchString(path) {
		return nil, app.Errorf(app.CodeInvalidInput, next, "%q cannot be part of a repository's name: use a-z, 0-9 and single - . _ /", path)
	}
	if r.keychain, err = keychain(o.Config); err != nil {
		return nil, err
	}
	r.pushed = loadPushed(o.State)
	return r, nil
}

// answerWithin is a transport that waits that long for a registry's response header. It does not limit the body.
func answerWithin(d time.Duration) http.RoundTripper {
	t, ok := remote.DefaultTransport.(*http.Transport)
	if !ok {
		return remote.DefaultTransport
	}
	t = t.Clone()
	t.ResponseHeaderTimeout = d
	return t
}

// keychain reads a docker config.json. It is read again for each request, so that a renewed Secret is seen.
func keychain(file string) (authn.Keychain, error) {
	if file == "" {
		return authn.DefaultKeychain, nil
	}
	k := configFile(file)
	if _, err := k.auth("registry.example"); err != nil {
		return nil, app.Errorf(app.CodeInvalidInput, "name a file as docker login leaves it: --registry-config FILE", "the registry's credentials in %s cannot be read: %w", file, err)
	}
	return k, nil
}

// configFile is a docker config.json.
type configFile string

func (c configFile) auth(key string) (types.AuthConfig, error) {
	f, err := os.Open(string(c))
	if err != nil {
		return types.AuthConfig{}, err
	}
	defer f.Close()
	parsed, err := config.LoadFromReader(f)
	if err != nil {
		return types.AuthConfig{}, fmt.Errorf("%s: %w", c, err)
	}
	a, err := parsed.GetAuthConfig(key)
	a.ServerAddress = "" // set for each, found or not
	return a, err
}

// Resolve implements authn.Keychain.
func (c configFile) Resolve(target authn.Resource) (authn.Authenticator, error) {
	for _, key := range []string{target.String(), target.RegistryStr()} {
		if key == name.DefaultRegistry {
			key = authn.DefaultAuthKey
		}
		a, err := c.auth(key)
		if err != nil {
			return nil, err
		}
		if a != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{Username: a.Username, Password: a.Password, Auth: a.Auth, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}), nil
		}
	}
	return authn.Anonymous, nil
}

// encrypted refuses plain HTTP, except to this machine: passwords must not be sent unencrypted, not even on a private network.
type encrypted struct{ next http.RoundTripper }

var errPlain = errors.New("plain HTTP was not asked for")

// RoundTrip implements http.RoundTripper.
func (e encrypted) RoundTrip(q *http.Request) (*http.Response, error) {
	if host := q.URL.Hostname(); q.URL.Scheme != "https" && host != "localhost" {
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return nil, errPlain
		}
	}
	return e.next.RoundTrip(q)
}

// Prefix is what stands before the names of repositories.
func (r *Remote) Prefix() string { return r.o.Prefix }

// Insecure says whether the registry speaks plain HTTP.
func (r *Remote) Insecure() bool { return r.o.Insecure }

func (r *Remote) repository(n string) (name.Repository, error) {
	if !repositoryForm.MatchString(n) {
		return name.Repository{}, fmt.Errorf("registry: %q is not the name of a repository", n)
	}
	_, path, _ := strings.Cut(r.o.Prefix, "/")
	repo := r.registry.Repo(strings.TrimPrefix(path+"/"+n, "/"))
	if len(repo.RepositoryStr()) > 255 {
		return repo, fmt.Errorf("registry: the name %q is too long", repo)
	}
	return repo, nil
}

func (r *Remote) options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(r.keychain), remote.WithTransport(r.client), remote.WithUserAgent("gitd")}
}

func notFound(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// Image implements Images.
func (r *Remote) Image(repository, digest string) (v1.Image, error) {
	repo, err := r.repository(repository)
	if err != nil {
		return nil, err
	}
	if _, err := hexOf(digest); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	ref := repo.Digest(digest)
	head, err := remote.Head(ref, r.options(ctx)...)
	if err != nil {
		if notFound(err) {
			return nil, fmt.Errorf("image %s@%s: the manifest is %w", repository, digest, ErrNotFound)
		}
		return nil, r.words(ctx, ref.String(), err)
	}
	if head.Size > maxManifest {
		return nil, fmt.Errorf("image %s@%s: the manifest has %d bytes, more than %d", repository, digest, head.Size, maxManifest)
	}
	img, err := remote.Image(ref, r.options(context.Background())...) // layers are read later, when this context has ended
	if err != nil {
		return nil, r.words(ctx, ref.String(), err)
	}
	if m, err := img.Manifest(); err != nil {
		return nil, r.words(ctx, ref.String(), err)
	} else if m.Config.Size > maxManifest {
		return nil, fmt.Errorf("image %s@%s: the configuration has %d bytes, more than %d", repository, digest, m.Config.Size, maxManifest)
	}
	if _, err := img.RawConfigFile(); notFound(err) {
		return nil, fmt.Errorf("image %s@%s: the configuration is %w", repository, digest, ErrNotFound)
	}
	return img, nil
}

// Tags implements Images. Of an app's repository it tells those images only that are known to be ours: what is left of a destroyed app in a
// registry that does not delete is not what the next one of its name is to build on.
func (r *Remote) Tags(repository string) (map[string]string, error) {
	tags, err := r.tags(repository)
	if err != nil || strings.HasPrefix(repository, System) || strings.HasSuffix(repository, CacheSuffix) {
		return tags, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for tag, digest := range tags {
		if _, ours := r.pushed[repository][digest]; !ours {
			delete(tags, tag)
		}
	}
	return tags, nil
}

func (r *Remote) tags(repository string) (map[string]string, error) {
	repo, err := r.repository(repository)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	puller, err := remote.NewPuller(r.options(ctx)...)
	if err != nil {
		return nil, err
	}
	names, err := puller.List(ctx, repo)
	if notFound(err) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, r.words(ctx, repo.String(), err)
	}
	tags := map[string]string{}
	for _, n := range names {
		d, err := puller.Head(ctx, repo.Tag(n))
		if notFound(err) { // gone since it was listed
			continue
		}
		if err != nil {
			return nil, r.words(ctx, repo.Tag(n).String(), err)
		}
		tags[n] = d.Digest.String()
	}
	return tags, nil
}

// AddImage implements Images. What the registry has already is not sent.
func (r *Remote) AddImage(ctx context.Context, repository, tag string, img v1.Image) error {
	return r.Write(ctx, repository, tag, img, nil)
}

// Write is AddImage that tells how far it is, in bytes; told may be nil.
func (r *Remote) Write(ctx context.Context, repository, tag string, img v1.Image, told func(sent, total int64)) error {
	repo, err := r.repository(repository)
	if err != nil {
		return err
	}
	if !tagForm.MatchString(tag) {
		return fmt.Errorf("registry: %q is not a tag", tag)
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	options := r.options(ctx)
	if told != nil {
		updates, done := make(chan v1.Update, 16), make(chan struct{})
		go func() {
			defer close(done)
			for u := range updates { // its writer closes the channel
				if u.Error == nil {
					told(u.Complete, u.Total)
				}
			}
		}()
		defer func() { <-done }()
		options = append(options, remote.WithProgress(updates))
	}
	if err := remote.Write(repo.Tag(tag), img, options...); err != nil {
		return r.words(ctx, repo.Tag(tag).String(), err)
	}
	if strings.HasPrefix(repository, System) {
		return nil
	}
	return r.Pushed(repository, digest.String())
}

// PushConfig implements Images. Its credentials are those that gitd has itself: the registry decides how far they reach.
func (r *Remote) PushConfig(host string, _ ...string) ([]byte, error) { return r.PullConfig(host, "") }

// PullConfig implements Images. The credentials are the operator's, whatever the repository.
func (r *Remote) PullConfig(host, _ string) ([]byte, error) {
	repo, err := r.repository("app")
	if err != nil {
		return nil, err
	}
	a, err := r.keychain.Resolve(repo)
	if err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "log in again, or look at the file of --registry-config", "the credentials for %s cannot be read: %w", r.o.Prefix, err)
	}
	return dockerConfig(host, a)
}

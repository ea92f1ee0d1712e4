package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/parts"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The system that our images stand on.
const (
	debianName    = "Debian 12"
	debianRelease = "bookworm"
	debianVersion = "12"
)

// The versions of what stages do: raised when the code changes in a way that their keys do not show.
const (
	layersVersion  = "1" // the stages
	builderVersion = "1" // how images are put together of them
)

// partFile is a program that the builder image holds.
type partFile struct {
	path   string
	digest string // hex
}

// recipe is all that decides what our builder is made of.
type recipe struct {
	arch                            string
	base                            v1.Image // nil to bootstrap Debian
	baseDigest                      string
	buildpacks, lifecycle, launcher partFile
}

func (c *cache) recipe(ctx context.Context, o Options) (*recipe, error) {
	r := &recipe{arch: runtime.GOARCH}
	for name, f := range map[string]*partFile{parts.Buildpacks: &r.buildpacks, parts.Lifecycle: &r.lifecycle, parts.Launcher: &r.launcher} {
		var err error
		if f.path, err = parts.Path(name); err != nil {
			return nil, err
		}
		if f.digest, err = c.digestOf(f.path); err != nil {
			return nil, err
		}
	}
	if o.Base != "" {
		var err error
		if r.base, err = c.base(ctx, o); err != nil {
			return nil, err
		}
		d, err := r.base.Digest()
		if err != nil {
			return nil, err
		}
		r.baseDigest = d.String()
	}
	return r, nil
}

// key names the builder that the recipe makes.
func (r *recipe) key() string {
	return key(layersVersion, builderVersion, r.arch, debianRelease, r.baseDigest, catalog.RunPackages, catalog.BuildPackages, toolchains[r.arch],
		r.buildpacks.digest, r.lifecycle.digest, r.launcher.digest, catalog.All(), catalog.Order(), seed())
}

// seed is what fills the Go cache, as far as it decides the content.
func seed() []any {
	args, env := catalog.SeedGoCache(catalog.GoRoot, catalog.GoCache)
	return []any{args, env}
}

func key(inputs ...any) string {
	b, err := json.Marshal(inputs)
	if err != nil {
		panic(err) // only plain values come here
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:10])
}

const digestPrefix = "digest-"

// digestOf returns the SHA-256 of a file. It is remembered for as long as the file is the same, so that a start is quick.
func (c *cache) digestOf(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	st := info.Sys().(*syscall.Stat_t)
	identity := fmt.Sprintf("%d:%d:%d:%d:%d", st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano())
	memory := filepath.Join(c.dir, digestPrefix+key(file))
	var known struct{ Identity, Digest string }
	if b, err := os.ReadFile(memory); err == nil && json.Unmarshal(b, &known) == nil && known.Identity == identity {
		touch(memory)
		return known.Digest, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	known.Identity, known.Digest = identity, hex.EncodeToString(h.Sum(nil))
	if b, err := json.Marshal(known); err == nil {
		_ = disk.ReplaceBytes(memory, 0o600, b) // only a memory: a failure costs time, no more
	}
	return known.Digest, nil
}

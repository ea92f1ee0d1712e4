package dotnet

import (
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Libraries are those of the system that .NET needs and the images lack: ICU, which knows languages and cultures. Programs that are published with
// InvariantGlobalization do without.
type Libraries interface {
	// Build puts them into the environment of the SDK.
	Build(b *build) error
	// Launch returns the layer that the app gets.
	Launch(b *build) (*kit.Layer, error)
}

// packaged takes them from Debian, as Microsoft's own images on Debian do.
type packaged struct{}

// icu are Debian's packages, by its release.
var icu = map[string]string{"bookworm": "libicu72", "trixie": "libicu76"}

// request is what is asked of Debian.
func (packaged) request(b *build) (*debs.Tool, debs.Request, error) {
	tool, err := debs.Open(b.cache, b.env, b.Out)
	if err != nil {
		return nil, debs.Request{}, err
	}
	suite, err := tool.Release()
	if err != nil {
		return nil, debs.Request{}, err
	}
	name, ok := icu[suite]
	if !ok {
		return nil, debs.Request{}, kit.Errorf("take gitd's own builder", "which package of Debian %s has the library ICU is not known here", suite)
	}
	return tool, debs.Request{Packages: []string{name}, Launch: true}, nil
}

// Build implements Libraries.
func (p packaged) Build(b *build) error {
	tool, r, err := p.request(b)
	if err != nil {
		return err
	}
	set, err := tool.Resolve(r)
	if err != nil {
		return err
	}
	dir, err := tool.InCache(set, b.cache, "dotnet-debian")
	if err != nil {
		return err
	}
	debs.Environment(dir).AddTo(b.env)
	b.env[overrideVariable] = icuVersion(dir)
	return nil
}

// overrideVariable tells .NET which version of ICU there is: by itself it looks for those that were known when it was made, each one in turn.
const overrideVariable = "CLR_ICU_VERSION_OVERRIDE"

// icuVersion is the version of ICU in a folder with Debian's packages, such as 76.1.
func icuVersion(dir string) string {
	found, _ := filepath.Glob(filepath.Join(dir, "usr/lib/*/libicuuc.so.*.*")) // a constant pattern but for the folder
	for _, f := range found {
		if _, version, ok := strings.Cut(filepath.Base(f), ".so."); ok {
			return version
		}
	}
	return ""
}

// Launch implements Libraries.
func (p packaged) Launch(b *build) (*kit.Layer, error) {
	layer, err := kit.OpenLayer(b.ctx, "icu")
	if err != nil {
		return nil, err
	}
	tool, r, err := p.request(b)
	if err != nil {
		return nil, err
	}
	set, reused, err := tool.Layer(layer, libcnb.LayerTypes{Launch: true}, r, overrideVariable)
	if err != nil {
		return nil, err
	}
	if !reused {
		layer.LaunchEnvironment.Default(overrideVariable, icuVersion(layer.Path))
	}
	return layer, kit.WriteSBOM(layer.Layer, set.SBOM())
}

// libraries are there for the SDK, where the app needs them as well.
func (b *build) libraries() error {
	if b.targets.main.is("invariantglobalization") {
		b.env["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1"
		return nil
	}
	return b.Libraries.Build(b)
}

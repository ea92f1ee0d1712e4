package python

import (
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/node"
)

// assets runs the build script of a package.json that lies beside the app: it makes the styles and scripts that the app serves.
func (b *build) assets() error {
	if !kit.IsFile(b.app, "package.json") {
		return nil
	}
	p, err := node.ReadPackage(b.app)
	if err != nil || !p.HasBuild() {
		return err
	}
	a, err := node.OpenAssets(b.Out, b.ctx, b.cache, b.env.Clone())
	if err != nil {
		return err
	}
	if err = a.Install(); err == nil {
		err = a.Build()
	}
	if err != nil {
		return err
	}
	return a.Remove()
}

package dotnet

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// made is the date that files of an image have.
var made = time.Date(1980, 1, 1, 0, 0, 1, 0, time.UTC)

// published takes an app that was pushed as it was published: NAME.dll with NAME.runtimeconfig.json.
func (b *build) published() error {
	name := strings.TrimSuffix(Evidence(b.app), runtimeConfig)
	found, _ := filepath.Glob(filepath.Join(b.app, "*"+runtimeConfig)) // a constant pattern but for the app's folder
	if len(found) > 1 {
		for _, p := range processesOf(b.app) {
			for _, f := range found {
				if n := strings.TrimSuffix(filepath.Base(f), runtimeConfig); p.Type == "web" && strings.Contains(p.Command, n+".dll") {
					name = n
				}
			}
		}
	}
	o := output{dir: b.app, name: name}
	if err := o.configure(); err != nil {
		return err
	}
	b.outputs = []output{o}
	kit.Say(b.Out, "%s.dll is published already: it runs as it is", name)
	return nil
}

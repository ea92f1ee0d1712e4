package dotnet

import "github.com/gitd-io/gitd/buildpacks/internal/kit"

// SiteFolder is where a site is, once it is published: no app has a folder of that name.
const SiteFolder = ".gitd-wwwroot"

// IsSite tells whether the app is Blazor that runs in the browser, of which there are files to serve and no program.
func IsSite(app string, env kit.Env) bool {
	if Evidence(app) == "" {
		return false
	}
	t, err := findTargets(app, env)
	return err == nil && t.main.kind() == site
}

package node

import (
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// TestAstroNeedsServer: an app of Astro whose pages are all made by the build gets no server.
func TestAstroNeedsServer(t *testing.T) {
	const config, vercel = "astro.config.mjs", "import vercel from '@astrojs/vercel/serverless';\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"output server":        {map[string]string{config: vercel + "export default defineConfig({ output: \"server\", adapter: vercel() })\n"}, true},
		"output hybrid":        {map[string]string{config: vercel + "export default { output: 'hybrid' }\n"}, true},
		"pages":                {map[string]string{config: vercel + "export default { adapter: vercel() }\n", "src/pages/index.astro": "<p>prerender</p>"}, false},
		"output, in a comment": {map[string]string{config: vercel + "export default {\n  // output: 'server',\n}\n"}, false},
		"a page on demand":     {map[string]string{config: vercel, "src/pages/a/b.ts": "export const prerender = false;\nexport const GET = () => 1"}, true},
		"a server island":      {map[string]string{config: vercel, "src/components/A.astro": "<Avatar server:defer />"}, true},
		"an action":            {map[string]string{config: vercel, "src/actions/index.ts": "import { defineAction } from 'astro:actions'"}, true},
		"no sources":           {map[string]string{config: vercel}, false},
	} {
		dir := bptest.Tree(t, tt.files)
		if got := astroNeedsServer(dir, config); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
		b := &build{app: dir, pkg: &Package{Dependencies: map[string]string{"astro": "5"}}}
		if adapter, file := b.elsewhereAstro(); adapter != "@astrojs/vercel/serverless" || file != config {
			t.Errorf("%s: %q %q", name, adapter, file)
		}
		b.pkg.Dependencies[astroForNode] = "9"
		if adapter, _ := b.elsewhereAstro(); adapter != "" {
			t.Errorf("%s: %q is replaced in an app that lists the one for Node.js", name, adapter)
		}
	}
}

// TestAstroVersion: the adapter fits the app's Astro.
func TestAstroVersion(t *testing.T) {
	for astro, want := range map[string]string{"5.17.3": "9", "5.17.2": "9.5.3", "5.0.0": "9.0.3", "5.0.0-beta.1": "9.0.3", "6.4.1": "10", "4.16.19": "8", "4.1.0": "7", "3.6.5": "6", "1.9.2": "5", "9.0.0": "latest", "7.2.0": "11.1.2", "": "5"} {
		if got := astroVersion(astro); got != want {
			t.Errorf("%q: %s, want %s", astro, got, want)
		}
	}
}

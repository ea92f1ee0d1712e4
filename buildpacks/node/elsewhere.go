package node

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// An app may be made for a platform that takes functions and pages instead of a server. Its framework builds a server as well, where it is told to.

// presetFiles are the configurations in which a preset of Nitro can stand.
var presetFiles = []string{"nuxt.config.ts", "nuxt.config.js", "nuxt.config.mjs", "app.config.ts", "app.config.js", "nitro.config.ts", "nitro.config.js", "nitro.config.mjs", "vite.config.ts", "vite.config.js", "vite.config.mjs"}

// elsewhere finds a preset of Nitro whose output only its platform can run.
var elsewhere = pattern.New(`(?m)^[^/\n]*\bpreset["']?\s*:\s*["']((?:vercel|netlify|cloudflare|aws|azure|firebase|deno|digital-ocean|stormkit|cleavr|edgio|flight-control|koyeb|layer0|zeabur|alwaysdata|genezio)[\w.-]*)["']`)

// usedAdapter finds the adapter that a svelte.config.js imports.
var usedAdapter = pattern.New(`(?m)^\s*import\s[^;\n]*["'](@sveltejs/adapter-(?:auto|vercel|netlify|cloudflare|cloudflare-workers)|svelte-adapter-[\w-]+)["']`)

// forNode sets what makes a framework build a server for Node.js out of an app that is made for another platform.
func (b *build) forNode(env kit.Env) error {
	auto := b.pkg.has("@sveltejs/adapter-auto") && !olderThan(moduleVersion(b.app, "@sveltejs/adapter-auto"), "3.2")
	if auto && !b.pkg.has("@sveltejs/adapter-node") {
		env.Default("GCP_BUILDPACKS", "gitd") // the adapter makes a server for Node.js then: older ones know no platform that has one
	}
	if b.pkg.has("nuxt", "nitropack", "nitro", "vinxi", "@solidjs/start", "@tanstack/react-start") && env["NITRO_PRESET"] == "" && env["SERVER_PRESET"] == "" {
		for _, file := range presetFiles {
			if m := elsewhere.FindStringSubmatch(kit.Text(b.app, file)); m != nil {
				kit.Say(b.Out, "Building a server for Node.js (%s says preset %s)", file, m[1])
				env["NITRO_PRESET"], env["SERVER_PRESET"] = "node-server", "node-server"
				break
			}
		}
	}
	for _, file := range viteConfigs {
		if m := usedPreset.FindStringSubmatch(kit.Text(b.app, file)); m != nil {
			kit.Say(b.Out, "Building a server for Node.js (%s uses %s)", file, m[1])
			return b.withoutPreset(env)
		}
	}
	if m := usedAdapter.FindStringSubmatch(kit.Text(b.app, "svelte.config.js")); m != nil && b.pkg.has("@sveltejs/kit") && !b.pkg.has("@sveltejs/adapter-node") && !(auto && m[1] == "@sveltejs/adapter-auto") {
		kit.Say(b.Out, "Building a server for Node.js (svelte.config.js says %s)", m[1])
		return b.replaceAdapter(env, m[1])
	}
	return nil
}

// usedPreset finds the preset of Vercel, which divides the server of Remix or React Router into its platform's functions.
var usedPreset = pattern.New(`(?m)^\s*import\s[^;\n]*["'](@vercel/(?:remix|react-router)/vite)["']`)

// presetFile is where that preset is installed: what loads the configuration of Vite asks for the file.
const presetFile = `/@vercel/(remix|react-router)/(dist/)?vite\.[mc]?js$`

// withoutPreset has imports of the preset answered by one that does nothing. Nothing of the app is changed.
func (b *build) withoutPreset(env kit.Env) error {
	tools, err := b.cache.Dir("node-tools")
	if err != nil {
		return err
	}
	dir := filepath.Join(tools, "no-preset")
	if err := mkdir(dir); err != nil {
		return err
	}
	address := func(file string) string { return (&url.URL{Scheme: "file", Path: filepath.Join(dir, file)}).String() }
	files := map[string]string{
		"preset.mjs": "export const vercelPreset = () => ({ name: 'none' });\n",
		"hooks.mjs": fmt.Sprintf("export async function resolve(specifier, context, next) {\n\tif (/^@vercel\\/(remix|react-router)\\/vite$/.test(specifier) || new RegExp(%q).test(specifier)) return { url: %q, shortCircuit: true };\n\treturn next(specifier, context);\n}\n",
			presetFile, address("preset.mjs")),
		"import.mjs": fmt.Sprintf("import { register } from 'node:module';\nregister(%q);\n", address("hooks.mjs")),
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	env["NODE_OPTIONS"] = strings.TrimSpace(env["NODE_OPTIONS"] + " --import=" + address("import.mjs"))
	return nil
}

// replaceAdapter has imports of a SvelteKit adapter answered by the one for Node.js, which gitd fetches. Nothing of the app is changed.
func (b *build) replaceAdapter(env kit.Env, adapter string) error {
	const name = "@sveltejs/adapter-node"
	tools, err := b.cache.Dir("node-tools")
	if err != nil {
		return err
	}
	want := "5"
	switch version := moduleVersion(b.app, "@sveltejs/kit"); {
	case strings.HasPrefix(version, "1.0.0-next."):
		want = "1.0.0-next.88"
	case strings.HasPrefix(version, "1."):
		want = "1"
	case version != "" && olderThan(version, "2.4"):
		want = "3"
	}
	dir := filepath.Join(tools, folderName(name+"@"+want))
	entry := filepath.Join(dir, "node_modules", name, "index.js")
	if !kit.IsFile(filepath.Dir(entry), "index.js") {
		if err := b.fetchTo(dir, name, name, want, "the version of @sveltejs/kit"); err != nil {
			return err
		}
	}
	address := func(file string) string { return (&url.URL{Scheme: "file", Path: file}).String() }
	files := map[string]string{
		"adapter.mjs": fmt.Sprintf("import adapter from %q;\nexport default () => adapter();\n", address(entry)),
		"hooks.mjs": fmt.Sprintf("export async function resolve(specifier, context, next) {\n\treturn specifier === %q ? { url: %q, shortCircuit: true } : next(specifier, context);\n}\n",
			adapter, address(filepath.Join(dir, "adapter.mjs"))),
		"import.mjs": fmt.Sprintf("import { register } from 'node:module';\nregister(%q);\n", address(filepath.Join(dir, "hooks.mjs"))),
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	env["NODE_OPTIONS"] = strings.TrimSpace(env["NODE_OPTIONS"] + " --import=" + address(filepath.Join(dir, "import.mjs")))
	return nil
}

package dotnet

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// The shared frameworks of a runtime.
const (
	coreApp   = "Microsoft.NETCore.App"
	aspnetApp = "Microsoft.AspNetCore.App"
)

// typeForm is what a process type cannot have.
var typeForm = pattern.New(`[^A-Za-z0-9_-]+`)

// runtimeLayout is raised when the same archive makes another layer than before.
const runtimeLayout = "1"

// runtime makes the layers that the programs run on: the runtime, ICU, and the environment.
func (b *build) runtime() error {
	if !slices.ContainsFunc(b.outputs, func(o output) bool { return o.start != nil }) {
		return nil // files alone
	}
	channel, aspnet, err := b.needed()
	if err != nil {
		return err
	}
	if channel != "" {
		if err := b.runtimeLayer(channel, aspnet); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(b.outputs, func(o output) bool { return !o.invariant && o.start != nil }) {
		layer, err := b.Libraries.Launch(b)
		if err != nil {
			return err
		}
		b.layers = append(b.layers, layer)
	}
	return b.settings(channel)
}

// needed is the line of the runtime that the programs need, "" for none, and whether that is ASP.NET Core's. All run on one: the newest.
func (b *build) needed() (channel string, aspnet bool, err error) {
	for _, o := range b.outputs {
		for _, w := range o.frameworks {
			n := numbers(w.Version)
			if len(n) < 2 {
				return "", false, kit.Errorf("publish the app again", "%s%s asks for %s %q, which is no version", o.name, runtimeConfig, w.Name, w.Version)
			}
			if w.Name != coreApp && w.Name != aspnetApp {
				return "", false, kit.Errorf("publish a project without it", "%s needs %s, which runs on Windows alone", o.name, w.Name)
			}
			aspnet = aspnet || w.Name == aspnetApp
			if c := fmt.Sprintf("%d.%d", n[0], n[1]); channel == "" || kit.CompareVersions(n[:2], numbers(channel)) > 0 {
				channel = c
			}
		}
	}
	return channel, aspnet, nil
}

// runtimeLayer is the newest runtime of a line: that of the SDK where it has it, else from its own archive. A line that is too old to run here is replaced
// by the one with long support.
func (b *build) runtimeLayer(channel string, aspnet bool) error {
	if (framework{channel: channel}).older() {
		list, err := b.feed.channels()
		if err != nil {
			return err
		}
		newer := newestLTS(list)
		kit.Say(b.Out, "Warning: .NET %s needs OpenSSL 1.1, which the image does not have: the app runs on .NET %s; target net%s", channel, newer, newer)
		channel = newer
	}
	if since, ended := b.feed.ended(channel); ended {
		kit.Say(b.Out, "Warning: .NET %s gets no fixes any more%s: target a newer one", channel, kit.Pick(since == "", "", " since "+since))
	}
	r, found, err := b.feed.releases(channel)
	if err != nil {
		return err
	}
	list := r.runtimes(aspnet)
	if !found || len(list) == 0 {
		all, err := b.feed.channels()
		if err != nil {
			return err
		}
		return kit.Errorf("target one of these: "+known(all), "there is no runtime of .NET %s for this machine", channel)
	}
	c, name := list[0], kit.Pick(aspnet, "ASP.NET Core runtime", ".NET runtime")
	layer, err := kit.OpenLayer(b.ctx, "dotnet")
	if err != nil {
		return err
	}
	b.layers = append(b.layers, layer)
	kit.Say(b.Out, "%s %s", name, c.Version)
	key := kit.Key(runtimeLayout, name, c.Version)
	reuse, err := layer.Renew(key)
	if err != nil {
		return err
	}
	if !reuse {
		if err := b.fillRuntime(layer.Path, c, aspnet); err != nil {
			return err
		}
		layer.LaunchEnvironment.Default("DOTNET_ROOT", layer.Path)
		layer.LaunchEnvironment.Prepend("PATH", ":", layer.Path)
	}
	return kit.WriteSBOM(layer.Layer, append(b.packages(), kit.Package{Name: "dotnet-runtime", Version: c.Version, PURL: "pkg:generic/dotnet-runtime"}))
}

func (b *build) packages() (list []kit.Package) {
	for _, o := range b.outputs {
		list = append(list, o.packages()...)
	}
	return list
}

// fillRuntime lays the runtime out in a folder.
func (b *build) fillRuntime(dir string, c component, aspnet bool) error {
	wanted := []string{coreApp}
	if aspnet {
		wanted = append(wanted, aspnetApp)
	}
	within := b.sdk.root != "" && !slices.ContainsFunc(wanted, func(name string) bool { return !kit.IsDir(b.sdk.root, "shared", name, c.Version) })
	from := b.sdk.root
	if !within {
		archive := c.archive(kit.Pick(aspnet, "aspnetcore-runtime-", "dotnet-runtime-"))
		var err error
		if from, err = b.installed("runtime", c.Version, archive); err != nil {
			return err
		}
	}
	for _, part := range []string{"dotnet", "host", "LICENSE.txt", "ThirdPartyNotices.txt"} {
		if kit.Exists(from, part) {
			if err := kit.CopyTree(filepath.Join(from, part), filepath.Join(dir, part), nil); err != nil {
				return err
			}
		}
	}
	for _, name := range wanted {
		versions, err := os.ReadDir(filepath.Join(from, "shared", name))
		if err != nil {
			return err
		}
		for _, v := range versions {
			if within && v.Name() != c.Version {
				continue
			}
			if err := kit.CopyTree(filepath.Join(from, "shared", name, v.Name()), filepath.Join(dir, "shared", name, v.Name()), nil); err != nil {
				return err
			}
		}
	}
	return setTimes(dir)
}

// portScript tells ASP.NET Core where to listen, unless the app's environment says that. The launcher runs it before the app.
const portScript = `#!/bin/sh
[ -n "$ASPNETCORE_URLS$ASPNETCORE_HTTP_PORTS$ASPNETCORE_HTTPS_PORTS$URLS$HTTP_PORTS$DOTNET_URLS" ] || echo "%NAME% = \"%VALUE%\"" >&3
`

// settings makes the layer of the app's environment.
func (b *build) settings(channel string) error {
	layer, err := kit.OpenLayer(b.ctx, "settings")
	if err != nil {
		return err
	}
	b.layers = append(b.layers, layer)
	name, value := "ASPNETCORE_URLS", "http://*:${PORT:-8080}"
	if kit.CompareVersions(numbers(channel), []int{8, 0}) >= 0 {
		name, value = "ASPNETCORE_HTTP_PORTS", "${PORT:-8080}"
	}
	script := strings.NewReplacer("%NAME%", name, "%VALUE%", value).Replace(portScript)
	old := channel != "" && framework{channel: channel}.older()
	key := kit.Key("1", script, fmt.Sprint(old), b.runs)
	if reuse, err := layer.Renew(key); err != nil || reuse {
		return err
	}
	launch := layer.LaunchEnvironment
	for name, value := range map[string]string{"DOTNET_RUNNING_IN_CONTAINER": "true", "DOTNET_CLI_TELEMETRY_OPTOUT": "1", "DOTNET_NOLOGO": "1", "ASPNETCORE_FORWARDEDHEADERS_ENABLED": "true",
		"LANG": "C.UTF-8", "DOTNET_BUNDLE_EXTRACT_BASE_DIR": "/tmp/dotnet"} {
		launch.Default(name, value)
	}
	if old {
		launch.Default("DOTNET_ROLL_FORWARD", "Major")
	}
	if err := writeScript(layer.Path, b.runs); err != nil {
		return err
	}
	return kit.WriteProgram(filepath.Join(layer.Path, "exec.d", "port"), script)
}

// setTimes gives all files one time: the same content makes the same layer.
func setTimes(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(path, made, made)
	})
}

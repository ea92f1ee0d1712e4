package dotnet

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// settingFlags adds words to dotnet publish.
const settingFlags = "BP_DOTNET_PUBLISH_FLAGS"

// settingNuGet names a mirror of NuGet's own server for apps that name no source of packages.
const settingNuGet = "NUGET_MIRROR"

// environment is that of the SDK: quiet, without telemetry, with the app's cache of packages.
func (b *build) environment() error {
	packages, err := b.cache.Downloads("nuget")
	if err != nil {
		return err
	}
	home, err := b.cache.Dir("dotnet-home")
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"DOTNET_ROOT": b.sdk.root, "DOTNET_CLI_HOME": home, "NUGET_PACKAGES": packages, "NUGET_HTTP_CACHE_PATH": filepath.Join(os.TempDir(), "nuget"),
		"DOTNET_CLI_TELEMETRY_OPTOUT": "1", "DOTNET_NOLOGO": "1", "DOTNET_SKIP_FIRST_TIME_EXPERIENCE": "1", "DOTNET_GENERATE_ASPNET_CERTIFICATE": "false",
		"DOTNET_CLI_WORKLOAD_UPDATE_NOTIFY_DISABLE": "1", "DOTNET_CLI_UI_LANGUAGE": "en", "DOTNET_MULTILEVEL_LOOKUP": "0", "NUGET_XMLDOC_MODE": "skip",
		"MSBUILDDISABLENODEREUSE": "1", "MSBUILDTERMINALLOGGER": "off", "DOTNET_CLI_USE_MSBUILD_SERVER": "0",
	} {
		b.env[name] = value
	}
	b.env.Prepend(filepath.Join(home, ".dotnet", "tools"))
	b.env.Prepend(b.sdk.root)
	return b.mirror(home)
}

// mirror makes a mirror the source of packages, for those that the app's own configuration does not take from elsewhere.
func (b *build) mirror(home string) error {
	file := filepath.Join(home, ".nuget", "NuGet", "NuGet.Config")
	address := b.env[settingNuGet]
	if address == "" {
		return os.RemoveAll(file)
	}
	if strings.ContainsAny(address, "<>&\"'\n") {
		return kit.Errorf("write the address of its index, such as https://HOST/v3/index.json", "%s is not an address", settingNuGet)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	insecure := ""
	if strings.HasPrefix(address, "http://") {
		insecure = ` allowInsecureConnections="true"`
	}
	text := fmt.Sprintf("<configuration><packageSources><clear /><add key=\"nuget.org\" value=\"%s\" protocolVersion=\"3\"%s /></packageSources></configuration>\n", address, insecure)
	return os.WriteFile(file, []byte(text), 0o644)
}

// intermediate brings what the last build compiled into the projects' folders, and gives files that have not changed their times: MSBuild goes by
// those. What stands committed in obj and bin is of another machine.
func (b *build) intermediate() error {
	store, err := b.cache.Dir("dotnet-obj")
	if err != nil {
		return err
	}
	kept := filepath.Join(store, kit.Key(b.sdk.Version)[:16])
	entries, err := os.ReadDir(store)
	if err != nil {
		return err
	}
	for _, e := range entries { // of another SDK
		if e.Name() != filepath.Base(kept) && e.Name() != "times" {
			if err := os.RemoveAll(filepath.Join(store, e.Name())); err != nil {
				return err
			}
		}
	}
	files, err := findProjects(b.app)
	if err != nil {
		return err
	}
	warned := false
	for _, f := range files {
		dir := filepath.Join(b.app, path.Dir(f))
		for _, name := range []string{"obj", "bin"} {
			at := filepath.Join(dir, name)
			if !kit.Exists(at) {
				continue
			}
			if info, err := os.Lstat(at); err == nil && info.Mode()&fs.ModeSymlink != 0 {
				continue // of another project in the folder
			}
			if name == "bin" && !kit.IsDir(at, "Debug") && !kit.IsDir(at, "Release") {
				continue // programs of the app's own
			}
			if !warned {
				kit.Say(b.Out, "Warning: %s is left out of the build; add bin/ and obj/ to .gitignore and take them out by git rm -r --cached", path.Join(path.Dir(f), name))
				warned = true
			}
			if err := os.RemoveAll(at); err != nil {
				return err
			}
		}
		if kit.Exists(dir, "obj") {
			continue
		}
		target := filepath.Join(kept, kit.Key(path.Dir(f))[:16])
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := os.Symlink(target, filepath.Join(dir, "obj")); err != nil {
			return err
		}
	}
	return kit.KeepTimes(b.app, filepath.Join(store, "times"), time.Now())
}

// tools brings the tools that the app's build may call.
func (b *build) tools() error {
	for _, f := range []string{".config/dotnet-tools.json", "dotnet-tools.json"} {
		if kit.IsFile(b.app, f) {
			return b.run("tool", "restore")
		}
	}
	return nil
}

// run runs dotnet in the app's folder.
func (b *build) run(args ...string) error {
	kit.Say(b.Out, "dotnet %s", strings.Join(args, " "))
	r := &reader{}
	said, err := kit.Cmd{Args: append([]string{"dotnet"}, args...), Dir: b.app, Env: b.env, Out: io.MultiWriter(&kit.Lines{Do: r.line}, b.Out), Name: "dotnet " + strings.Join(args[:min(len(args), 1)], " ")}.Run()
	return b.reason(r, said, err)
}

// publishFolder is where programs are published to, one in a folder each. Projects leave folders out whose names begin with a dot.
const publishFolder = ".gitd-published"

// publish publishes the app, and the other programs that its Procfile starts. Packages are restored in the same run: a project that is published for one
// system, or compiled ahead of time, needs others than one that is only built.
func (b *build) publish() error {
	flags, err := b.env.ShellWords(settingFlags)
	if err != nil {
		return err
	}
	for i, p := range append([]*project{b.targets.main}, b.targets.others...) {
		to := path.Join(publishFolder, fmt.Sprint(i))
		args := append([]string{"publish", p.path, "-c", "Release", "-o", to}, b.frameworkFlag(p)...)
		if p.single {
			args = append(args, "-p:PublishAot="+p.property("publishaot"))
		}
		if kit.IsFile(b.app, path.Dir(p.path), "packages.lock.json") {
			args = append(args, "-p:RestoreLockedMode=true")
		}
		if err := b.run(append(args, flags...)...); err != nil {
			return err
		}
		o, err := readOutput(filepath.Join(b.app, to), p)
		if err != nil {
			return err
		}
		b.outputs = append(b.outputs, o)
	}
	return nil
}

// frameworkFlag names the framework of a project that has several.
func (b *build) frameworkFlag(p *project) []string {
	f, err := p.framework()
	if err != nil || !strings.Contains(p.property("targetframeworks"), ";") || p.property("targetframework") != "" {
		return nil
	}
	return []string{"-f", f.name}
}

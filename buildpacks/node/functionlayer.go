package node

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

// functionFiles are the programs that start functions, and the libraries that they start them by, each with its lock file.
//
//go:embed function
var functionFiles embed.FS

// functionLayer has the program that starts the function, and the library where the app does not have it.
func (b *build) functionLayer(l library) (*kit.Layer, error) {
	layer, err := kit.OpenLayer(b.ctx, "function")
	if err != nil {
		return nil, err
	}
	own := b.pkg.has(l.name)
	assets, err := assetsKey(l)
	if err != nil {
		return nil, err
	}
	key := kit.Key("1", b.node.version, assets, fmt.Sprint(own, b.function.Env))
	if reuse, err := layer.Renew(key); err != nil || reuse {
		return layer, err
	}
	layer.SetLaunch(b.function.Env)
	if err := b.fillFunction(layer.Path, l, own); err != nil {
		return nil, err
	}
	return layer, kit.WriteSBOM(layer.Layer, lockPackages("npm", kit.Text(layer.Path, "package-lock.json")))
}

// fillFunction writes the programs, and installs the library by its lock file, which has the hash of each package.
func (b *build) fillFunction(dir string, l library, own bool) error {
	programs, err := fs.Glob(functionFiles, "function/*.?js")
	if err != nil {
		return err
	}
	for _, f := range programs {
		if err := writeAsset(f, filepath.Join(dir, filepath.Base(f))); err != nil {
			return err
		}
	}
	if own {
		return nil
	}
	kit.Say(b.Out, "Installing %s (the app does not list it)", l.name)
	if err := b.installLocked(dir, l.packages); err != nil {
		return err
	}
	if b.function.Contract == function.Lambda { // an empty one says that lambda.mjs is to stand in for it
		return os.WriteFile(filepath.Join(dir, "node_modules", l.name, "rapid-client.node"), nil, 0o644)
	}
	return nil
}

// installLocked installs the packages of one of our lock files into a folder.
func (b *build) installLocked(dir, packages string) error {
	for _, f := range []string{"package.json", "package-lock.json"} {
		if err := writeAsset("function/"+packages+"/"+f, filepath.Join(dir, f)); err != nil {
			return err
		}
	}
	env := b.env.Clone()
	env["NODE_ENV"] = "production"
	argv := []string{"npm", "ci", "--omit=dev", "--ignore-scripts", "--loglevel=error"}
	_, err := kit.Cmd{Args: argv, Dir: dir, Env: env, Out: b.Out, Name: "npm ci", Next: "push again when the package registry can be reached"}.Run()
	return err
}

func assetsKey(l library) (string, error) {
	var parts []string
	err := fs.WalkDir(functionFiles, "function", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if dir := filepath.Base(filepath.Dir(path)); dir != "function" && dir != l.packages {
			return nil
		}
		data, err := functionFiles.ReadFile(path)
		parts = append(parts, path, string(data))
		return err
	})
	return kit.Key(parts...), err
}

func writeAsset(from, to string) error {
	data, err := functionFiles.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

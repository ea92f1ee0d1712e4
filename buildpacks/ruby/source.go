package ruby

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/fetch"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// compiledLayout is raised when the same source makes another folder than before.
const compiledLayout = "1"

// configureArgs: the folder can be moved, so that it is compiled in the app's cache and copied into the layer. What compiles extensions is there, and
// nothing for debuggers.
var configureArgs = []string{"--prefix=/usr", "--enable-load-relative", "--enable-shared", "--disable-install-static-library", "--disable-install-doc", "optflags=-O3", "debugflags=-g0"}

// extensions are those that Ruby leaves out without a word where their libraries are missing, and that apps need.
const extensions = "openssl,psych,zlib,socket"

// compiled is the folder of the app's cache that has a version compiled from its source.
func (b *build) compiled(s source) (string, error) {
	root, err := b.cache.Dir("ruby-compiled")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, s.Version+"-"+kit.Key(compiledLayout, s.SHA256, b.release)[:12])
	if kit.IsFile(dir, "usr", "bin", "ruby") {
		return dir, nil
	}
	if err := errors.Join(os.RemoveAll(root), os.MkdirAll(root, 0o755)); err != nil { // the app has moved on
		return "", err
	}
	kit.Say(b.Out, "Fetching the source of Ruby %s", s.Version)
	work := filepath.Join(root, "work")
	archive := filepath.Join(root, "source.tar.xz")
	address := s.URL
	if rest, ok := strings.CutPrefix(address, sourceServer); ok {
		address = b.sourceServer() + rest
	}
	if err := fetch.New(b.env).File(address, s.SHA256, archive, 1<<28); err != nil {
		if u, ok := errors.AsType[*fetch.Unreachable](err); ok {
			return "", kit.Errorf("try again later, or set "+settingMirror+" for the server to a mirror", "the source of Ruby %s cannot be had: %v", s.Version, u)
		}
		return "", err
	}
	if err := fetch.Unpack(b.env, b.Out, archive, work, "1"); err != nil {
		return "", err
	}
	part := filepath.Join(root, "part")
	if err := b.compileRuby(s, work, part); err != nil {
		return "", err
	}
	for _, old := range []string{work, archive} {
		if err := os.RemoveAll(old); err != nil {
			return "", err
		}
	}
	return dir, os.Rename(part, dir)
}

// compileRuby compiles a source in its folder, and installs it below to.
func (b *build) compileRuby(s source, work, to string) error {
	kit.Say(b.Out, "Compiling Ruby %s, once for this app: that takes some minutes", s.Version)
	env := b.env.Clone()
	for _, name := range []string{"RUBYLIB", "LD_LIBRARY_PATH", "MAKEFLAGS"} {
		delete(env, name)
	}
	for _, args := range [][]string{
		append([]string{"./configure", "--silent"}, configureArgs...),
		{"make", "-s", "-j" + kit.Processors()},
		{"make", "-s", "install", "DESTDIR=" + to},
	} {
		log := &kit.Tail{Limit: 64 << 10} // hundreds of lines, which say nothing where all is well
		name := path.Base(args[0])
		if _, err := (kit.Cmd{Args: args, Dir: work, Env: env, Out: log, Name: name}).Run(); err != nil {
			return compileReason(s, name, log.String(), err)
		}
	}
	args := slices.Concat([]string{filepath.Join(to, "usr", "bin", "ruby")}, requires(), []string{"-e", "0"})
	check := kit.Cmd{Args: args, Env: env, Out: &kit.Tail{Limit: 1 << 10}, Name: "ruby"}
	if said, err := check.Run(); err != nil {
		return kit.Errorf("report it to the operator: the builder lacks a header that Ruby needs", "Ruby %s was compiled without what apps need: %s", s.Version, kit.First(said))
	}
	return tidy(to)
}

func requires() (args []string) {
	for _, e := range strings.Split(extensions, ",") {
		args = append(args, "-r"+e)
	}
	return args
}

var compileError = pattern.New(`(?m)^(?:configure: error: |[^\n]*?: (?:fatal )?error: |make: \*\*\* )([^\n]+)$`)

// compileReason takes the first error from what was printed.
func compileReason(s source, name, said string, err error) error {
	var e *kit.Error
	if !errors.As(err, &e) {
		return err
	}
	message := e.Message
	if m := compileError.FindStringSubmatch(said); m != nil {
		message += ": " + strings.TrimSpace(m[1])
	}
	return kit.Errorf(e.Next, "Ruby %s cannot be compiled: %s", s.Version, message)
}

// tidy takes out what no app reads.
func tidy(dir string) error {
	for _, name := range []string{"share/doc", "share/man", "share/ri"} {
		if err := os.RemoveAll(filepath.Join(dir, "usr", name)); err != nil {
			return err
		}
	}
	return nil
}

// resolveSource takes a Ruby that is compiled, and says which it is. What gems need of Debian's libraries is beside it.
func (b *build) resolveSource(s source) error {
	if err := b.withoutDebian(); err != nil {
		return err
	}
	b.source, b.version = &s, s.Version
	b.line = strings.Join(strings.Split(s.Version, ".")[:2], ".")
	_, libs := b.packages()
	var err error
	if b.set, err = b.tool.Resolve(debs.Request{Packages: libs, Launch: true}); err != nil {
		return err
	}
	kit.Say(b.Out, "Ruby %s (compiled from its source)", b.version)
	b.ruby, err = kit.OpenLayer(b.ctx, "ruby")
	return err
}

// withoutDebian gives an app that would have used gems of Debian's a Gemfile.
func (b *build) withoutDebian() error {
	var gems []string
	switch {
	case b.jekyll != nil:
		gems = append(configuredGems(b.app), `gem "jekyll"`, `gem "webrick"`)
	case b.bundle.file == "" && kit.IsFile(b.app, "config.ru"):
		gems = []string{`gem "rack"`, `gem "rackup"`, `gem "puma"`}
	default:
		return nil
	}
	b.jekyll = nil
	if err := b.writeGemfile(gems...); err != nil {
		return err
	}
	b.bundle = readBundle(b.app)
	return nil
}

// rubyKey names the content of Ruby's layer.
func (b *build) rubyKey() string {
	if b.source != nil {
		return kit.Key(b.set.Key(), "compiled", compiledLayout, b.source.SHA256, b.release)
	}
	return b.set.Key()
}

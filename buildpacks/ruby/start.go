package ruby

import (
	"os"
	"path/filepath"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

// servers are the gems that serve a Rack app.
var servers = []string{"puma", "falcon", "unicorn", "pitchfork", "thin", "iodine", "agoo", "passenger", "webrick"}

// frameworkUse is how a program shows that it is an app of Sinatra's classic style, which serves itself when it is run.
var frameworkUse = pattern.New(`(?m)^\s*require\s*\(?\s*["'](?:sinatra(?:/base|/reloader)?|cuba|camping|grape|roda)["']`)

// addServer puts a server into the image's copy of the Gemfile where the app lists none and has something for it to serve.
func (b *build) addServer() error {
	if b.bundle.hasAny(servers...) || procfile.HasWeb(b.app) || b.site != nil || !(kit.IsFile(b.app, "config.ru") || b.selfServing() != "") {
		return nil
	}
	b.added = true
	b.bundle.text += "\n\ngem \"puma\""
	if b.selfServing() != "" && b.bundle.has("sinatra") && !kit.IsFile(b.app, "config.ru") && numbersOf(b.bundle.gems["sinatra"]) >= 4 && !b.bundle.has("rackup") {
		b.bundle.text += "\ngem \"rackup\""
	}
	kit.Say(b.Out, "The %s lists no server: puma is added to it in the image", b.bundle.file)
	if b.bundle.lock == "" {
		b.bundle.gems["puma"] = ""
	}
	return os.WriteFile(filepath.Join(b.app, b.bundle.file), []byte(b.bundle.text+"\n"), 0o644)
}

func numbersOf(version string) int {
	if v := numbers(version); len(v) > 0 {
		return v[0]
	}
	return 99 // of an app without a lock file: the newest
}

// selfServing is the program of an app that serves itself; "" for none.
func (b *build) selfServing() string {
	for _, f := range programs {
		if frameworkUse.MatchString(kit.Text(b.app, f)) {
			return f
		}
	}
	return ""
}

// start finds out how the app starts. It is nil for an app whose Procfile says so itself.
func (b *build) start() (*libcnb.Process, error) {
	if procfile.HasWeb(b.app) {
		return nil, nil
	}
	exec := "exec "
	if b.gems != nil {
		exec += "bundle exec "
	}
	if b.isRails() && b.bundle.file != "" {
		return kit.WebLine(exec + `rails server -b 0.0.0.0 -p "${PORT:-8080}" -e "${RAILS_ENV:-production}" -P /tmp/server.pid`), nil
	}
	if kit.IsFile(b.app, "config.ru") {
		b.added = b.added || b.gems == nil // it is Debian's
		return kit.WebLine(exec + b.rackServer()), nil
	}
	files := programs
	if f := b.selfServing(); f != "" {
		files = []string{f}
	}
	for _, f := range files {
		if kit.IsFile(b.app, f) {
			return kit.WebLine(exec + "ruby " + f), nil
		}
	}
	if kit.IsFile(b.app, "Procfile") {
		return nil, nil
	}
	return nil, kit.Errorf("add config.ru, or a Procfile with a line such as web: bundle exec puma -p $PORT",
		"nothing says how the app starts: no Procfile, no config.ru, and no app.rb, main.rb or server.rb")
}

// rackServer is the command line of the server that the app lists, for its config.ru.
func (b *build) rackServer() string {
	switch {
	case b.bundle.has("puma") || b.added:
		if kit.IsFile(b.app, "config", "puma.rb") || kit.IsFile(b.app, "puma.rb") || kit.IsFile(b.app, "config", "puma", "production.rb") {
			return `puma -b "tcp://0.0.0.0:${PORT:-8080}" config.ru`
		}
		return `puma -b "tcp://0.0.0.0:${PORT:-8080}" -t "${RAILS_MIN_THREADS:-0}:${RAILS_MAX_THREADS:-5}" -w "${WEB_CONCURRENCY:-0}" config.ru`
	case b.bundle.has("falcon"):
		return `falcon serve --bind "http://0.0.0.0:${PORT:-8080}" --count "${WEB_CONCURRENCY:-1}"`
	case b.bundle.has("unicorn"):
		return `unicorn -o 0.0.0.0 -p "${PORT:-8080}"` + option(kit.IsFile(b.app, "config", "unicorn.rb"), " -c config/unicorn.rb")
	case b.bundle.has("pitchfork"):
		return `pitchfork -o 0.0.0.0 -p "${PORT:-8080}"` + option(kit.IsFile(b.app, "config", "pitchfork.conf.rb"), " -c config/pitchfork.conf.rb")
	case b.bundle.has("thin"):
		return `thin start -a 0.0.0.0 -p "${PORT:-8080}" -R config.ru -P /tmp/thin.pid`
	case b.bundle.has("iodine"):
		return `iodine -b 0.0.0.0 -p "${PORT:-8080}"`
	case b.bundle.has("agoo"):
		return `rackup -s agoo -o 0.0.0.0 -p "${PORT:-8080}"`
	case b.bundle.has("passenger"):
		return `passenger start --address 0.0.0.0 --port "${PORT:-8080}" --environment production`
	}
	return `rackup -s webrick -o 0.0.0.0 -p "${PORT:-8080}"`
}

func option(on bool, text string) string {
	if on {
		return text
	}
	return ""
}

package python

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

// inlineBlock is the comment in which a script says what it needs, as uv and pipx read it (PEP 723).
var inlineBlock = pattern.New(`(?m)^# /// script[ \t]*\n((?:^#(?: .*)?\n)+?)^# ///[ \t]*$`)

// inline reads the comment of a script, where there is one.
func (s *source) inline(app, file string) error {
	m := inlineBlock.FindStringSubmatch(kit.Text(app, file) + "\n")
	if m == nil {
		return nil
	}
	var text strings.Builder
	for line := range strings.Lines(m[1]) {
		text.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "#"), " "))
	}
	var block struct {
		RequiresPython string   `toml:"requires-python"`
		Dependencies   []string `toml:"dependencies"`
	}
	if err := toml.Unmarshal([]byte(text.String()), &block); err != nil {
		return kit.Errorf("correct it and push again", "%s: the comment \"# /// script\" is not valid TOML: %s", file, kit.First(err.Error()))
	}
	s.script = true
	s.project.Project.RequiresPython, s.project.Project.Dependencies = block.RequiresPython, block.Dependencies
	return nil
}

// loneProgram is the only file at the root that is a program, in an app that is nothing else, or the function of one without such files; "" for none.
func loneProgram(app string) string {
	if kit.OtherLanguage(app).Name != "" || kit.Exists(app, procfile.Name) || kit.HasManifest(app) {
		return ""
	}
	var found []string
	for _, path := range glob(app, "*.py") {
		text := kit.Text(path)
		if f := filepath.Base(path); !notApp.MatchString(f) && (mainBlock.MatchString(text) || inlineBlock.MatchString(text) || pageImport.MatchString(text) || protocolOf(text) != "") {
			found = append(found, f)
		}
	}
	if len(found) != 1 {
		if b := (&build{app: app}); len(found) == 0 && b.findApp().file == functionFile {
			return functionFile
		}
		return ""
	}
	return found[0]
}

// usual are packages that apps use, by the module that they are imported by.
var usual = map[string]string{"requests": "requests", "httpx": "httpx", "numpy": "numpy", "pandas": "pandas", "matplotlib": "matplotlib", "plotly": "plotly", "altair": "altair", "PIL": "pillow", "bs4": "beautifulsoup4",
	"yaml": "pyyaml", "dotenv": "python-dotenv", "jinja2": "jinja2", "markdown": "markdown", "pydantic": "pydantic", "pydantic_settings": "pydantic-settings", "sqlalchemy": "sqlalchemy", "sqlmodel": "sqlmodel",
	"flask_cors": "flask-cors", "flask_sqlalchemy": "flask-sqlalchemy", "flask_login": "flask-login", "flask_wtf": "flask-wtf", "flask_socketio": "flask-socketio", "rest_framework": "djangorestframework", "corsheaders": "django-cors-headers",
	"whitenoise": "whitenoise", "redis": "redis", "pymongo": "pymongo", "psycopg2": "psycopg2-binary", "openai": "openai", "anthropic": "anthropic", "sklearn": "scikit-learn", "websockets": "websockets",
	"telegram": "python-telegram-bot", "telebot": "pytelegrambotapi", "aiogram": "aiogram", "discord": "discord.py", "marimo": "marimo", "fastmcp": "fastmcp", "gunicorn": "gunicorn"}

// imports are the packages that the app's code imports and no file lists, as far as the module's name surely says the package. What is the app's own
// is left out.
func (b *build) imports() (packages []string) {
	for _, f := range b.sources() {
		for _, m := range moduleImport.FindAllStringSubmatch(kit.Text(b.app, f), -1) {
			pkg := frameworks[m[1]]
			if pkg == "" {
				pkg = usual[m[1]]
			}
			if pkg != "" && !slices.Contains(packages, pkg) && !kit.IsFile(b.app, m[1]+".py") && !kit.IsDir(b.app, m[1]) {
				packages = append(packages, pkg)
			}
		}
	}
	slices.Sort(packages)
	return packages
}

// unlisted are the packages of an app that is found by a program alone: what that says itself, else what the code imports.
func (b *build) unlisted() []string {
	switch {
	case !strings.HasSuffix(b.source.kind, ".py") || b.source.kind == "setup.py" || b.function != nil:
		return nil
	case b.source.script:
		return b.source.project.Project.Dependencies
	}
	return b.imports()
}

// installUnlisted installs them.
func (b *build) installUnlisted() error {
	packages := b.unlisted()
	if len(packages) == 0 {
		return nil
	}
	if b.source.script {
		return b.requirements("uv pip install (dependencies in "+b.source.kind+")", packages)
	}
	kit.Say(b.Out, "Warning: no file lists the packages of the app; those that its code imports are installed, in their newest versions: write them into requirements.txt")
	return b.requirements("uv pip install "+strings.Join(packages, " "), packages)
}

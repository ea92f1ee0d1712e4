package python

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestUnlisted: what is installed for an app whose packages no file lists, and how its program runs.
func TestUnlisted(t *testing.T) {
	const flask = "from flask import Flask\nfrom dotenv import load_dotenv\nimport os, requests, helpers\napp = Flask(__name__)\n"
	for _, tt := range []struct {
		name     string
		files    map[string]string
		packages string
		process  string // the type of the process that runs the program
	}{
		{"what it imports", map[string]string{"app.py": flask, "helpers.py": "import redis.asyncio\n"}, "flask python-dotenv redis", "web"},
		{"but what is its own", map[string]string{"app.py": "import redis\nimport flask\n", "redis.py": ""}, "flask", "web"},
		{"what the script says", map[string]string{"app.py": "# /// script\n# dependencies = [\n#   \"bottle>=0.13\", # small\n# ]\n#\n# [tool.uv]\n# ///\nimport bottle, flask\n"}, "bottle>=0.13", "web"},
		{"nothing", map[string]string{"app.py": "# /// script\n# dependencies = []\n# ///\nimport flask\n"}, "", "web"},
		{"a list", map[string]string{"app.py": flask, "requirements.txt": ""}, "", "web"},
		{"a bot", map[string]string{"bot.py": "from telegram.ext import Application\nif __name__ == '__main__':\n    Application.builder().build().run_polling()\n"}, "python-telegram-bot", "worker"},
		{"its commands", map[string]string{"requirements.txt": "discord.py\n", "main.py": "import asyncio, core\n", "core/__init__.py": "import discord\n"}, "", "worker"},
		{"one with a page", map[string]string{"requirements.txt": "", "main.py": "import telebot\nimport page\n", "page.py": "from flask import Flask\n"}, "", "web"},
		{"one that is called", map[string]string{"requirements.txt": "", "main.py": "import telegram\napp.run_webhook(port=8443)\n"}, "", "web"},
	} {
		app := bptest.Tree(t, tt.files)
		s, err := findSource(app)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		b := &build{app: app, source: s}
		if got := strings.Join(b.unlisted(), " "); got != tt.packages {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.packages)
		}
		if p := b.run(program(app, s)); p.Type != tt.process {
			t.Errorf("%s: runs as %s, want %s", tt.name, p.Type, tt.process)
		}
	}
}

// TestUnlisted_Malformed: the comment is the author's to correct, and two programs say nothing.
func TestUnlisted_Malformed(t *testing.T) {
	if _, err := findSource(bptest.Tree(t, map[string]string{"main.py": "# /// script\n# dependencies = [\n# ///\n"})); err == nil || !strings.HasPrefix(kit.Line(err), `main.py: the comment "# /// script" is not valid TOML`) {
		t.Errorf("malformed: %v", err)
	}
	if s, err := findSource(bptest.Tree(t, map[string]string{"a.py": "import flask\n", "b.py": "import flask\n"})); err != nil || s.kind != "" {
		t.Errorf("two programs: %q %v", s.kind, err)
	}
}

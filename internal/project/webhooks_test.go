package project

import (
	"strings"
	"testing"
)

// What is wrong with a webhook is told with its line.
func TestWebhooks(t *testing.T) {
	const good = "[[io.gitd.webhooks]]\nname = \"a\"\nkind = \"github\"\n"
	for text, want := range map[string]string{
		good + "secret = \"S\"": "",
		good + "secret = [\"S\", \"OLD\"]\npath = \"/a\"\nbroker = \"team\"": "",
		good:                                `line 1: io.gitd.webhooks "a": secret is missing`,
		good + "secret = \"It's a secret\"": "give the one of the app's configuration that has the secret",
		good + "secret = [1]":               "1 is not the name of a variable",
		good + "secret = [\"A\", \"B\", \"C\", \"D\", \"E\"]":                       "at most 4",
		good + "secret = \"S\"\npath = \"a\"":                                       "path is that of a URL",
		good + "secret = \"S\"\nbroker = \"No!\"":                                   "broker: a name is of",
		good + "secret = \"S\"\ntoken = \"x\"":                                      "unknown setting io.gitd.webhooks.token",
		"\n[[io.gitd.webhooks]]\nname = \"a\"\nkind = \"svn\"\nsecret = \"S\"":      `line 2: io.gitd.webhooks "a": kind is "github", "gitlab", "stripe", "s3" or "standard", not "svn"`,
		"[[io.gitd.webhooks]]\nname = \"A\"\nkind = \"github\"\nsecret = \"S\"":     "name: a name is of",
		good + "secret = \"S\"\n" + good + "secret = \"S\"":                         `line 5: io.gitd.webhooks "a": there is another of that name`,
		good + "secret = \"S\"\npath = \"/x\"\n[[io.gitd.triggers]]\npath = \"/a\"": "a trigger, or a schedule with a path, has that name",
		good + "secret = \"S\"\n[[io.gitd.triggers]]\npath = \"/a\"":                "",
		good + "secret = \"S\"\n[io.gitd.config.S]\ndefault = \"x\"":                "everyone who reads the repository",
		good + "secret = \"S\"\n[io.gitd.web.env]\nS = \"x\"":                       "everyone who reads the repository",
		good + "secret = \"S\"\n[io.gitd.config.S]\ngenerate = \"hex32\"":           "",
		strings.Repeat(good+"secret = \"S\"\n", 21):                                 "there are 21",
	} {
		_, err := Parse(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s\n%v, want %q", text, err, want)
		}
	}
}

// The secrets of webhooks are required, unless they are generated.
func TestConfigWithSecrets(t *testing.T) {
	d, err := Parse("[[io.gitd.webhooks]]\nname = \"a\"\nkind = \"github\"\nsecret = [\"NEW\", \"OLD\"]\n[io.gitd.config.OLD]\ngenerate = \"hex32\"\n[io.gitd.config.OTHER]\n")
	if err != nil {
		t.Fatal(err)
	}
	required := map[string]bool{}
	for _, one := range d.ConfigWithSecrets() {
		required[one.Name] = one.Required
	}
	if len(required) != 3 || !required["NEW"] || required["OLD"] || required["OTHER"] {
		t.Error(required)
	}
	if len(d.Config) != 2 {
		t.Error(d.Config)
	}
}

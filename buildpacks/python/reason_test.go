package python

import (
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestReason: the line that helps, of all that uv and the build systems say.
func TestReason(t *testing.T) {
	b := &build{version: "3.11.2", app: "/workspace", source: source{kind: "requirements.txt"}}
	failed := kit.Errorf("", "uv pip install failed (exit status 1)")
	for _, tt := range []struct{ said, want string }{
		{"error: No solution found when resolving dependencies\n  cause: Because the current Python version (3.11.2) does not satisfy Python>=3.12 and django>=6.0,<=6.0.10 depends on Python>=3.12, we can conclude that django>=6.0,<=6.0.10 cannot be used.\n         And because only the following versions of django are available:\n             django<=6.0.10\n             django>=6.1\n         and you require django>=6,<6.1, we can conclude that your requirements are unsatisfiable.",
			": django is for Python >=3.12, and this is 3.11.2; ask for that Python in .python-version, or require a version of the package for Python 3.11"},
		{"cause: Because flaskk was not found in the package registry and you require flaskk==3.1.0, we can conclude that your requirements are unsatisfiable.",
			": the package registry has no flaskk; check its name, and name its index if it is private"},
		{"cause: Because tensorflow==2.5.0 has no wheels with a matching Python ABI tag (e.g., `cp311`) and you require tensorflow==2.5.0, we can conclude\n\nhint: You require CPython 3.11 (`cp311`), but we only found wheels for `tensorflow` (v2.5.0) with the following Python ABI tags: `cp36m`, `cp39`",
			": tensorflow==2.5.0 has no wheel for Python 3.11 (there is one for cp36m, cp39); ask for that Python in .python-version, or require a version of the package for Python 3.11"},
		{"error: Failed to download `flask==3.1.0`\n  cause: Hash mismatch for `flask==3.1.0`\n", ": flask==3.1.0 does not have the hash that requirements.txt gives it; update the hashes: write requirements.txt again with the tool that wrote it"},
		{"error: Failed to build `psycopg2==2.9.10`\n  cause: The build backend returned an error\nError: pg_config executable not found.\n", ": psycopg2==2.9.10: the program pg_config is missing; add packages = [\"libpq-dev\"] to [io.gitd.build] in project.toml, or require a version of the package that has a wheel"},
		{"error: Failed to build `pycairo==1.25.0`\nfoo.c:1:10: fatal error: cairo.h: No such file or directory\n", ": pycairo==1.25.0: the header cairo.h is missing; add packages = [\"libcairo2-dev\"] to [io.gitd.build] in project.toml, or require a version of the package that has a wheel"},
		{"error: Failed to build `pycairo==1.25.0`\n  Package cairo was not found in the pkg-config search path.\n", ": pycairo==1.25.0: the library cairo is missing; add packages = [\"libcairo2-dev\"] to [io.gitd.build] in project.toml, or require a version of the package that has a wheel"},
		{"error: Failed to build `uwsgi==2.0.18`\n error: invalid application of ‘sizeof’\n", ": uwsgi==2.0.18: it has no wheel for Python 3.11 and cannot be compiled; require a version that has a wheel for Python 3.11, or ask for an older Python in .python-version"},
		{"error: Git operation failed\n  cause: failed to clone\n  cause: process didn't exit successfully: `/usr/bin/git fetch --force 'https://example.com/x.git' '+HEAD:refs/remotes/origin/HEAD'` (exit status: 128)\n--- stderr\n fatal: repository not found\n",
			": the repository https://example.com/x.git cannot be fetched: repository not found; check the address, and that it can be read without a password"},
		{"error: Request failed after 3 retries in 3s\n  cause: Failed to fetch: http://registry.test/simple/flask/\n  cause: dns error\n", ": the package registry registry.test has no address (DNS), after several tries; push again when it is back"},
		{"something else", ""},
	} {
		if got, want := kit.Line(b.reason(tt.said, failed)), failed.Message+tt.want; got != want {
			t.Errorf("%q:\n got %s\nwant %s", tt.said, got, want)
		}
	}
	if err := b.reason("", nil); err != nil {
		t.Error(err)
	}
}

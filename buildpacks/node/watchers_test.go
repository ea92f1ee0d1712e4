package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestUnwatched: what watches files is taken off a start script, or another script is for production.
func TestUnwatched(t *testing.T) {
	for _, tt := range []struct {
		start   string
		scripts map[string]string
		want    string
	}{
		{"node server.js", nil, "node server.js"},
		{"nodemon server.js --port 1", nil, "node server.js --port 1"},
		{"npx nodemon -w src --ext js,json --legacy-watch 'my app.js'", nil, "node 'my app.js'"},
		{"NODE_ENV=production nodemon ./bin/www", nil, "NODE_ENV=production node ./bin/www"},
		{"cross-env A=1 nodemon a.js", nil, "cross-env A=1 node a.js"},
		{"dotenv -e .env -- nodemon a.js", nil, "dotenv -e .env -- node a.js"},
		{"npx cross-env A=1 nodemon a.js", nil, "cross-env A=1 node a.js"},
		{"nodemon src/index.ts", nil, "ts-node src/index.ts"},
		{"nodemon --exec ts-node src/index.ts", nil, "ts-node src/index.ts"},
		{"nodemon -x 'ts-node -T src/index.ts'", nil, "ts-node -T src/index.ts"},
		{"nodemon --exec=babel-node src/index.js", nil, "babel-node src/index.js"},
		{"nodemon", nil, "nodemon"}, // of nodemon.json
		{"nodemon && x", nil, "nodemon && x"},
		{"ts-node-dev --respawn --transpile-only src/main.ts", nil, "ts-node src/main.ts"},
		{"tsx watch src/main.ts", nil, "tsx src/main.ts"},
		{"tsx watch --clear-screen=false src/main.ts", nil, "tsx --clear-screen=false src/main.ts"},
		{"node --watch --env-file=.env server.js", nil, "node --env-file=.env server.js"},
		{"node --enable-source-maps --watch-path=src server.js", nil, "node --enable-source-maps server.js"},
		{"bun --hot src/index.ts", nil, "bun src/index.ts"},
		{"bun run --watch src/index.ts", nil, "bun run src/index.ts"},
		{"npm run dev", map[string]string{"dev": "nodemon a.js"}, "node a.js"},
		{"nodemon src/a.js", map[string]string{"start:prod": "node dist/a.js"}, "node dist/a.js"},
		{"ts-node src/a.ts", map[string]string{"build": "tsc", "start:prod": "node dist/a.js"}, "node dist/a.js"},
		{"ts-node src/a.ts", map[string]string{"build": "tsc"}, "ts-node src/a.ts"},
		{"ts-node src/a.ts", map[string]string{"prod": "node dist/a.js"}, "ts-node src/a.ts"},
		{"tsx src/watch.ts", nil, "tsx src/watch.ts"},
	} {
		scripts := map[string]string{"start": tt.start}
		for k, v := range tt.scripts {
			scripts[k] = v
		}
		p := &Package{Scripts: scripts}
		if got := p.unwatched(tt.start); got != tt.want {
			t.Errorf("%q %v: %q, want %q", tt.start, tt.scripts, got, tt.want)
		}
	}
}

// TestHeapScript: an older Node.js gets its heap's limit from the container's memory, in whole and by either version of cgroups.
func TestHeapScript(t *testing.T) {
	for _, tt := range []struct{ file, limit, options, want string }{
		{"memory.max", "536870912", "", "NODE_OPTIONS = \"--max-old-space-size=384\"\n"},
		{"memory/memory.limit_in_bytes", "1073741824", "--no-warnings", "NODE_OPTIONS = \"--no-warnings --max-old-space-size=768\"\n"},
		{"memory.max", "max", "", ""},
		{"memory/memory.limit_in_bytes", "9223372036854771712", "", ""},
		{"memory.max", "536870912", "--max_old_space_size=100", ""},
		{"memory.max", "536870912", "--title=\"a\"", ""},
		{"other", "1", "", ""},
	} {
		dir, layer := t.TempDir(), t.TempDir()
		if err := mkdir(filepath.Dir(filepath.Join(dir, tt.file))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.limit+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := writeHeapScript(layer); err != nil {
			t.Fatal(err)
		}
		c := exec.Command("sh", "-c", `exec "$0" 3>&1`, filepath.Join(layer, "exec.d/heap"))
		c.Env = []string{"PATH=" + os.Getenv("PATH"), "CGROUP=" + dir, "NODE_OPTIONS=" + tt.options}
		if got, err := c.CombinedOutput(); err != nil || string(got) != tt.want {
			t.Errorf("%s %s %s: %q %v, want %q", tt.file, tt.limit, tt.options, got, err, tt.want)
		}
	}
}

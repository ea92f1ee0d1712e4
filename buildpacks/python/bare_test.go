package python

import (
	"cmp"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// A file handler.py counts where there is no other program, or project.toml says so.
func TestFindFunction_Bare(t *testing.T) {
	const bare = "def handler(request): return ''\n"
	find := func(app string, env kit.Env) (bool, error) {
		f, err := findFunction(app, env)
		return f != nil, err
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  bool
	}{
		{"alone", map[string]string{}, true},
		{"with packages", map[string]string{"requirements.txt": "requests\n"}, true},
		{"with a module", map[string]string{"db.py": "x = 1\n"}, true},
		{"with a step of the release", map[string]string{"Procfile": "release: python db.py\n"}, true},
		{"main.py serves", map[string]string{"requirements.txt": "", "main.py": "from http.server import HTTPServer, BaseHTTPRequestHandler\ndef main():\n    HTTPServer(('', 8080), BaseHTTPRequestHandler).serve_forever()\nmain()\n"}, false},
		{"main.py serves websockets", map[string]string{"requirements.txt": "websockets\n", "main.py": "import asyncio, websockets\nasync def main():\n    async with websockets.serve(print, '', 8080): await asyncio.Future()\nasyncio.run(main())\n"}, false},
		{"main.py serves gRPC", map[string]string{"requirements.txt": "grpcio\n", "main.py": "import grpc\ndef main():\n    s = grpc.server(None)\n    s.start()\nmain()\n"}, false},
		{"aiohttp in a function", map[string]string{"requirements.txt": "aiohttp\n", "main.py": "from aiohttp import web\ndef main():\n    app = web.Application()\n    web.run_app(app)\nif __name__ == '__main__':\n    main()\n"}, false},
		{"another program", map[string]string{"requirements.txt": "", "serve_all.py": "if __name__ == '__main__':\n    print(1)\n"}, false},
		{"a bot", map[string]string{"requirements.txt": "", "bot.py": "print(1)\n"}, false},
		{"a worker", map[string]string{"requirements.txt": "", "Procfile": "worker: python work.py\n"}, false},
		{"a script of the project", map[string]string{"pyproject.toml": "[project]\nname = \"shop\"\nversion = \"1\"\n[project.scripts]\nshop = \"shop:main\"\n"}, false},
		{"it is the program itself", map[string]string{"requirements.txt": "", "handler.py": "from http.server import HTTPServer\ndef handler(request): pass\nif __name__ == '__main__':\n    HTTPServer(('', 8080), None).serve_forever()\n"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.files["handler.py"] = cmp.Or(tt.files["handler.py"], bare)
			bptest.FindBare(t, bptest.Tree(t, tt.files), "handler.py", tt.want, find)
		})
	}
}

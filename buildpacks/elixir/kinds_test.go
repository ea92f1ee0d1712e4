package elixir

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// server is an app that answers what an expression says. It needs no package.
const server = `defmodule Shop.Server do
  use GenServer
  def start_link(_), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)
  def init(_) do
    {:ok, l} = :gen_tcp.listen(String.to_integer(System.fetch_env!("PORT")), [:binary, packet: :http_bin, active: false, reuseaddr: true])
    spawn_link(fn -> loop(l) end)
    {:ok, l}
  end
  defp loop(l) do
    {:ok, c} = :gen_tcp.accept(l)
    spawn(fn -> answer(c) end)
    loop(l)
  end
  defp answer(c) do
    case :gen_tcp.recv(c, 0) do
      {:ok, :http_eoh} ->
        body = Shop.page()
        :inet.setopts(c, packet: :raw)
        :gen_tcp.send(c, "HTTP/1.1 200 OK\r\nContent-Length: #{byte_size(body)}\r\nConnection: close\r\n\r\n#{body}")
        :gen_tcp.close(c)
      {:ok, _} -> answer(c)
      _ -> :ok
    end
  end
end
`

// app has a release, a package of its own, a file in priv and configuration that is read when it starts.
var app = map[string]string{
	"mix.exs": `defmodule Shop.MixProject do
  use Mix.Project
  def project, do: [app: :shop, version: "0.1.0", elixir: "~> 1.12", deps: [{:greet, path: "greet"}], aliases: ["assets.deploy": [&asset/1]]]
  def application, do: [extra_applications: [:logger, :crypto], mod: {Shop.Application, []}]
  defp asset(_), do: File.write!("priv/made.txt", "asset")
end
`,
	"greet/mix.exs":           "defmodule Greet.MixProject do\n  use Mix.Project\n  def project, do: [app: :greet, version: \"1.0.0\"]\nend\n",
	"greet/lib/greet.ex":      "defmodule Greet do\n  def hi, do: \"hi\"\nend\n",
	"lib/shop/application.ex": "defmodule Shop.Application do\n  use Application\n  def start(_, _), do: Supervisor.start_link([Shop.Server], strategy: :one_for_one)\nend\n",
	"lib/shop/server.ex":      server,
	"lib/shop.ex": `defmodule Shop do
  def page, do: "#{Greet.hi()} #{Application.get_env(:shop, :colour)} #{File.read!(Application.app_dir(:shop, "priv/made.txt"))} #{byte_size(:crypto.hash(:sha, "x"))} #{System.get_env("MIX_ENV")}"
end
`,
	"priv/note.txt":      "note",
	"config/runtime.exs": "import Config\nconfig :shop, colour: System.get_env(\"COLOUR\", \"blue\")\n",
}

// TestBuildKinds builds apps with Debian's Elixir and starts them, and builds them again with one file changed.
func TestBuildKinds(t *testing.T) {
	bptest.Debian(t)
	cache := t.TempDir()
	for _, k := range []struct {
		name      string
		procfile  string
		want      string
		unchanged string
	}{
		{"release", "", "hi blue asset 20 prod", "settings"},
		{"mix in the Procfile", "web: mix run --no-halt\n", "hi blue asset 20 prod", "elixir"},
	} {
		t.Run(k.name, func(t *testing.T) {
			var out bytes.Buffer
			r := bptest.New(t, catalog.Elixir)
			r.Env["BP_CACHE_MOUNT"] = cache // for Debian's packages
			files := map[string]string{}
			for name, text := range app {
				files[name] = text
			}
			if k.procfile != "" {
				files["Procfile"] = k.procfile
			}
			built, err := r.Build(New(&out), files)
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			line := k.procfile
			if p := built.Processes["web"]; p.Command != "" {
				line = strings.Join(append([]string{p.Command}, p.Arguments...), " ")
			}
			cmd := exec.Command("sh", "-c", "exec "+strings.TrimPrefix(strings.TrimSpace(line), "web: "))
			cmd.Env = append([]string{"HOME=/nonexistent", "PATH=" + os.Getenv("PATH")}, r.LaunchEnv()...)
			if err := os.RemoveAll(cache + "/elixir/deps"); err != nil { // the app needs nothing of the cache
				t.Fatal(err)
			}
			get := bptest.Serve(t, r, cmd, bptest.Port(t))
			if got := get("/"); got != k.want {
				t.Errorf("the app says %q, want %q\n%s", got, k.want, out.String())
			}
			if gone := k.procfile == ""; kit.Exists(r.App, "lib/shop.ex") == gone || !kit.Exists(r.App, "priv/note.txt") {
				t.Error("the wrong files are in the image")
			}
			out.Reset()
			files["lib/shop.ex"] = strings.Replace(files["lib/shop.ex"], "do: \"", "do: \"new ", 1)
			if _, err := r.Build(New(&out), files); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if !strings.Contains(out.String(), "Compiling 1 file (.ex)") || strings.Contains(out.String(), "==> greet") {
				t.Errorf("more is compiled than what has changed: %s", out.String())
			}
			if !r.Reused(k.unchanged) {
				t.Errorf("%s was made again: %s", k.unchanged, out.String())
			}
		})
	}
}

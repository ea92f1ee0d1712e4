defmodule Hello.Server do
  @moduledoc "Answers each request with the version."
  use Task

  @version "v1"

  def start_link(_), do: Task.start_link(__MODULE__, :listen, [String.to_integer(System.get_env("PORT", "4000"))])

  def listen(port) do
    {:ok, listener} = :gen_tcp.listen(port, [:binary, packet: :http_bin, active: false, reuseaddr: true])
    accept(listener)
  end

  defp accept(listener) do
    {:ok, client} = :gen_tcp.accept(listener)
    {:ok, pid} = Task.start(fn -> answer(client) end)
    :gen_tcp.controlling_process(client, pid)
    accept(listener)
  end

  defp answer(client) do
    case :gen_tcp.recv(client, 0) do
      {:ok, :http_eoh} ->
        body = "Hello from Elixir, #{@version}\n"
        :ok = :inet.setopts(client, packet: :raw)
        :gen_tcp.send(client, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: #{byte_size(body)}\r\nConnection: close\r\n\r\n#{body}")
        :gen_tcp.close(client)

      {:ok, _} ->
        answer(client)

      {:error, _} ->
        :gen_tcp.close(client)
    end
  end
end

"""What the programs that start a function share: options, how a module is loaded, and what is told where the function is not there."""

import ast
import importlib
import io
import os
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))


def prepare():
    """Imports come from the app first, then from its packages, then from those beside this file.

    The app may have modules of any name, so that neither this folder is searched nor this module is known while the app is loaded."""
    sys.path[0] = os.getcwd()
    sys.path[1:] = [p for p in sys.path[1:] if os.path.abspath(p) != HERE]
    sys.modules.pop(__name__, None)
    sys.path.append(os.path.join(HERE, "packages"))


def options():
    """The options of the command line, --NAME=VALUE, by name."""
    return dict(a[2:].split("=", 1) for a in sys.argv[1:] if a.startswith("--") and "=" in a)


def port():
    return int(os.environ.get("PORT") or 8080)


def fail(source, target):
    """Says which functions there are where the one that is wanted is not, and ends the program."""
    try:
        with open(source, encoding="utf-8") as f:
            tree = ast.parse(f.read())
        names = [n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    except (OSError, SyntaxError, ValueError):
        names = []
    has = "it has " + ", ".join(names) if names else "it has no function"
    sys.exit(f"{source} has no function {target}: {has}")


def load(source, target):
    """Returns the function of a file, which is imported by its place below the app, so that imports relative to it work."""
    folder = os.path.dirname(os.path.abspath(source))
    if folder not in sys.path:
        sys.path.insert(1, folder)
    name = os.path.splitext(source)[0].replace(os.sep, ".")
    if name.endswith(".__init__"):
        name = name[: -len(".__init__")]
    try:
        module = importlib.import_module(name)
    except BaseException:
        traceback.print_exc()
        sys.exit(f"{source} cannot be loaded")
    function = getattr(module, target, None)
    if not callable(function):
        fail(source, target)
    return function


BATCH = "a batch of CloudEvents is not taken: send each event in a request of its own\n"


def is_batch(content_type):
    return content_type.strip().lower().startswith("application/cloudevents-batch")


MAX_EVENT = 10 << 20
TOO_LARGE = "the request is too large: at most 10 MiB are taken\n"


class WithoutBatches:
    """A WSGI app that answers batches of CloudEvents with a sentence, instead of calling the function with what it does not expect.

    Events are read into memory: one that is too large for that is refused as well. What is answered to a broker is an event, or nothing."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        if is_batch(environ.get("CONTENT_TYPE", "")):
            return self.refuse(start_response, "415 Unsupported Media Type", BATCH)
        length = environ.get("CONTENT_LENGTH") or ""
        if not length and environ.get("wsgi.input_terminated"):  # its length is not said: one byte more than is taken tells
            body = environ["wsgi.input"].read(MAX_EVENT + 1)
            environ["wsgi.input"] = io.BytesIO(body)
            length = str(len(body))
        if length.isdigit() and int(length) > MAX_EVENT:
            return self.refuse(start_response, "413 Content Too Large", TOO_LARGE)
        if not wants_event(environ.get("HTTP_PREFER", "")):
            return self.app(environ, start_response)
        told = []
        answer = self.app(environ, lambda *args: told.append(args))
        status, headers = told[-1][:2]
        if not drops(status, headers):
            start_response(*told[-1])
            return answer
        tell_dropped(b"".join(answer))
        if hasattr(answer, "close"):
            answer.close()
        start_response("204 No Content", [h for h in headers if not h[0].lower().startswith("content-")])
        return []

    def refuse(self, start_response, status, text):
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))])
        return [text.encode()]


def wants_event(prefer):
    """Tells by the header Prefer whether a broker asks, for which only an event, or nothing, is an answer."""
    return "reply" in prefer.lower()


def drops(status, headers):
    """Tells whether an answer is a success that is no event, which a broker would take for a failure."""
    named = {name.lower(): value.lower() for name, value in headers}
    return status.startswith("2") and "ce-specversion" not in named and not named.get("content-type", "").startswith("application/cloudevents")


def tell_dropped(body):
    if body not in (b"", b"OK"):  # which is what the Functions Framework says to each event
        print("the function's answer to an event is dropped: it is no CloudEvent", flush=True)


def events_alone(scope, send):
    """Sends the answer in ASGI; nothing in place of one that is no event, where a broker asks."""
    if scope["type"] != "http" or not wants_event(dict(scope.get("headers") or ()).get(b"prefer", b"").decode("latin-1")):
        return send
    dropped = False

    async def alone(message):
        nonlocal dropped
        if message["type"] == "http.response.start":
            headers = [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in message.get("headers") or ()]
            if dropped := drops(str(message["status"]), headers):
                kept = [(name, value) for name, value in message.get("headers") or () if not bytes(name).lower().startswith(b"content-")]
                message = {**message, "status": 204, "headers": kept}
        elif dropped and message["type"] == "http.response.body":
            tell_dropped(message.get("body", b""))
            message = {**message, "body": b""}
        await send(message)

    return alone


async def refuse_batch(scope, send):
    """Answers a batch in ASGI, and tells whether the request was one."""
    kind = dict(scope.get("headers") or ()).get(b"content-type", b"").decode("latin-1")
    if scope["type"] != "http" or not is_batch(kind):
        return False
    await send({"type": "http.response.start", "status": 415, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
    await send({"type": "http.response.body", "body": BATCH.encode()})
    return True


async def bounded(receive, send):
    """Reads a request of ASGI as a whole. Returns what gives it again; or answers one that is too large for memory, and returns None."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_EVENT:
            await send({"type": "http.response.start", "status": 413, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
            await send({"type": "http.response.body", "body": TOO_LARGE.encode()})
            return None
        more = message.get("more_body", False)
    again = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

    async def whole():
        return again.pop() if again else await receive()

    return whole

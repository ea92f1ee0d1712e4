"""Serves a function of Knative by func-python: the app's own version of it, or the one beside this file."""

import contextvars
import importlib
import os
import traceback

import _gitd_common as common

common.prepare()
o = common.options()
source, target, signature = o["source"], o["target"], o.get("signature", "http")
os.environ.setdefault("LISTEN_ADDRESS", f"0.0.0.0:{common.port()}")

library = importlib.import_module("func_python.cloudevent" if signature == "cloudevent" else "func_python.http")
function = common.load(source, target)
answers = contextvars.ContextVar("answers")


class Answer:
    """Sends the answer to one request, and knows whether it has begun."""

    def __init__(self, send):
        self.inner, self.begun = send, False

    async def send(self, message):
        self.begun = True
        await self.inner(message)


class Static:
    """A function that is a handler by itself, without an instance."""

    async def handle(self, scope, receive, send):
        await function(scope, receive, send)


class Told:
    """A function's instance that tells the log of what it throws, and answers that as HTTP wants it."""

    def __init__(self, f):
        self._f = f

    def __getattr__(self, name):
        return getattr(self._f, name)

    async def handle(self, scope, receive, send):
        try:
            await self._f.handle(scope, receive, send)
        except Exception:
            traceback.print_exc()
            answer = answers.get()
            if answer.begun:
                raise
            await answer.send({"type": "http.response.start", "status": 500, "headers": [(b"content-type", b"text/plain")]})
            await answer.send({"type": "http.response.body", "body": b"Internal Server Error"})


class App(library.ASGIApplication):
    """The library's app, without batches of CloudEvents, events that are too large, and answers to a broker that are no events."""

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            if await common.refuse_batch(scope, send):
                return
            answer = Answer(common.events_alone(scope, send) if signature == "cloudevent" else send)
            answers.set(answer)
            send = answer.send
            if signature == "cloudevent":  # the library reads all of it into memory
                receive = await common.bounded(receive, send)
                if receive is None:
                    return
        await super().__call__(scope, receive, send)


instance = function() if target == "new" else Static()
if not hasattr(instance, "handle"):
    raise SystemExit(f"{source}: what new() returns has no method handle")
App(Told(instance)).serve()

"""Serves a function by the Functions Framework: the app's own version of it, or the one beside this file."""

import os

import _gitd_common as common

common.prepare()
o = common.options()
source, target, signature = o["source"], o["target"], o.get("signature", "http")
os.environ.setdefault("FUNCTION_TARGET", target)
os.environ.setdefault("FUNCTION_SIGNATURE_TYPE", signature)
# The framework has four threads for each processor: on a small machine calls that wait for something else would wait for one another.
os.environ.setdefault("THREADS", o.get("concurrency", "32"))

from functions_framework import create_app, exceptions  # noqa: E402
from functions_framework._http import create_server  # noqa: E402

try:
    app = create_app(target, source, signature)
except (exceptions.MissingTargetException, exceptions.InvalidTargetTypeException):
    common.fail(source, target)

if signature != "http":
    if hasattr(app, "wsgi_app"):
        app.wsgi_app = common.WithoutBatches(app.wsgi_app)
    else:
        inner = app

        async def app(scope, receive, send):
            if await common.refuse_batch(scope, send):
                return
            if scope["type"] == "http":
                receive = await common.bounded(receive, send)
            if receive is not None:
                await inner(scope, receive, common.events_alone(scope, send))


create_server(app, False).run("0.0.0.0", common.port())

"""Serves a function by the Functions Framework: the app's own version of it, or the one beside this file."""

import functools
import inspect
import os
import sys

import _gitd_common as common

common.prepare()
o = common.options()
source, target, signature = o["source"], o["target"], o.get("signature", "http")
os.environ.setdefault("FUNCTION_TARGET", target)
os.environ.setdefault("FUNCTION_SIGNATURE_TYPE", signature)
# The framework has four threads for each processor: on a small machine calls that wait for something else would wait for one another.
os.environ.setdefault("THREADS", o.get("concurrency", "32"))

import functions_framework  # noqa: E402
from functions_framework import create_app, exceptions  # noqa: E402
from functions_framework._http import create_server  # noqa: E402

registry = getattr(functions_framework, "_function_registry", None)  # which those of before 2021 do not have
find = registry and registry.get_user_function


def find_awaited(file, module, name):
    """Finds the function. One that is async is for the framework's server for such: its other one calls it, waits for nothing, and says that all is well."""
    function = find(file, module, name)
    if not inspect.iscoroutinefunction(inspect.unwrap(function)) or name in getattr(registry, "ASGI_FUNCTIONS", ()):
        return function
    if not hasattr(registry, "ASGI_FUNCTIONS"):
        sys.exit(f"{name} of {source} is async, which functions-framework serves from version 3.9 on: ask for a newer one, or make it def {name}")
    if registry.REGISTRY_MAP.get(name) == "http":  # it was written for a request of Flask's
        sys.exit(f"{name} of {source} is async: declare it by @functions_framework.aio.http, which gives it a request of Starlette's, or make it def {name}")
    registry.ASGI_FUNCTIONS.add(name)

    @functools.wraps(function)
    async def awaited(*args):
        return await function(*args)

    return awaited


if registry:
    registry.get_user_function = find_awaited

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

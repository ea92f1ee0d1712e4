"""Serves a function main(context) of Knative's older kind by parliament: the app's own version of it, or the one beside this file."""

from types import SimpleNamespace

import _gitd_common as common

common.prepare()
o = common.options()

from parliament import server  # noqa: E402
from waitress import serve  # noqa: E402

app = server.create(SimpleNamespace(main=common.load(o["source"], o["target"])))
# The library reads each request into memory.
serve(common.WithoutBatches(app), host="0.0.0.0", port=common.port(), threads=int(o.get("concurrency", 8)), max_request_body_size=common.MAX_EVENT)

"""Pushes with dulwich: dulwich_push.py DIR URL [--force] REF ... Prints the server's words."""
import sys

from dulwich import porcelain

dir, url, *rest = sys.argv[1:]
force = "--force" in rest
out = sys.stdout.buffer
try:
    porcelain.push(dir, url, [r for r in rest if r != "--force"], outstream=out, errstream=out, force=force)
except Exception as e:
    out.write(("%s: %s\n" % (type(e).__name__, e)).encode())
    sys.exit(1)

"""Clones with dulwich: dulwich_clone.py URL DIR [DEPTH]."""
import sys

from dulwich import porcelain

url, dir, *rest = sys.argv[1:]
porcelain.clone(url, dir, errstream=sys.stderr.buffer, depth=int(rest[0]) if rest else None)

"""Runs a handler of AWS Lambda by awslambdaric, which is the runtime of Lambda itself: the app's own version of it, or the one beside this file."""

import sys

import _gitd_common as common

common.prepare()

from awslambdaric.__main__ import main  # noqa: E402

main(["bootstrap", sys.argv[1]])

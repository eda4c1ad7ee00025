"""Launchers: each parses its flags and calls one library function."""

import gc

# Imports make a million objects that stay. Python would look through them hundreds of times, a tenth of a start;
# `launch.run` sets the usual threshold again when they are done.
USUAL_COLLECTIONS = gc.get_threshold()
gc.set_threshold(50_000, *USUAL_COLLECTIONS[1:])

"""The local stack: every process that the app needs on this machine, started and kept.

`running.stack` is the Python way in, `python -m devhost.stack` the command behind `./dev start`.
"""

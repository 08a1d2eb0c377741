"""Model endpoints on this machine: Azure ML's own inference server, and what Azure adds before it.

`server` runs one scoring script of infra/models/ as the container would; `front` is the one
address in front of all of them, with keys, limits and error wrapping as Azure ML documents them.
"""

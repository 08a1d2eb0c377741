"""How ./dev gets a machine ready: finds Python and Node, and installs what is pinned.

Standard library only, and code that Python 3.8 can run: this is what runs before anything else
is installed.
"""

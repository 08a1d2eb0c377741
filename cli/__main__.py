"""`python -m cli COMMAND …`, or `./dev COMMAND …`."""

from __future__ import annotations

import sys

from cli.app import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

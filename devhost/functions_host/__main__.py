"""`python -m devhost.functions_host`."""

import sys

from devhost.functions_host.cli import main

if __name__ == "__main__":
    sys.exit(main())

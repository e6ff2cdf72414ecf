"""`python -m walcore` is the command `walcore`."""

from __future__ import annotations

import sys

from walcore.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m bluesky_azint``."""

import sys

from bluesky_azint.cli import main

sys.exit(main())

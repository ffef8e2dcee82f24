"""``python -m gennostr.cli``."""

import sys

from gennostr.cli import main

sys.exit(main())

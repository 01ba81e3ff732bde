"""`python -m tests.parity`: the live comparison."""

import sys

from .compare import main

sys.exit(main())

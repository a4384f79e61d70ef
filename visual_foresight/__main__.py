"""`python -m visual_foresight` is the command `visual-foresight`."""

import sys

from visual_foresight.cli import main

sys.exit(main())

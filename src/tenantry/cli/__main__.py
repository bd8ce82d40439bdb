"""`python -m tenantry.cli`, the same as `tenantry`."""

import sys

from tenantry.cli.commands import main

sys.exit(main())

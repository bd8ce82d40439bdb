"""`python -m tenantry.cli`, the same as `tenantry`."""

import sys

from tenantry.cli.main import main

sys.exit(main())

"""What a route is: declared whole, held in a table that refuses half declarations, decoded strictly. Knows no room above the journal.

Start with `route`: it makes a `Route` from a function. A room gives a tuple of them, `app/` puts all of them into one `Table`.
"""

from tenantry.web.call import Call
from tenantry.web.route import (
    CLIENT,
    INSIDE,
    PUBLIC,
    Dialect,
    Limits,
    Media,
    Permission,
    Rate,
    Raw,
    Route,
    Stream,
    route,
)
from tenantry.web.table import Table

__all__ = [
    "CLIENT",
    "INSIDE",
    "PUBLIC",
    "Call",
    "Dialect",
    "Limits",
    "Media",
    "Permission",
    "Rate",
    "Raw",
    "Route",
    "Stream",
    "Table",
    "route",
]

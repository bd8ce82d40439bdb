"""What a caller must be allowed to for the routes of this room: relations of `system.fga`."""

from tenantry.web import Permission

READ_STORES = Permission("can_read_stores", writes=False)
MANAGE_STORES = Permission("can_manage_stores", writes=True)
READ_DECISIONS = Permission("can_read_decisions", writes=False)

CHECK = Permission("can_check", writes=False, on="store")
STORE = "Tenantry-Store"
"""The header that names a store where the path cannot. Without it the only store of the organization is meant; of several none is."""

CHECK_NAMED = Permission("can_check", writes=False, on="store", header=STORE)
READ_TUPLES = Permission("can_read_tuples", writes=False, on="store")
WRITE_TUPLES = Permission("can_write_tuples", writes=True, on="store")
READ_MODEL = Permission("can_read_model", writes=False, on="store")
WRITE_MODEL = Permission("can_write_model", writes=True, on="store")
MANAGE_STORE = Permission("can_manage_store", writes=True, on="store")

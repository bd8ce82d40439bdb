"""What a caller must be allowed to, to end access, to see what was ended, and to follow it."""

from tenantry.web import Permission

CAN_END_ACCESS = Permission("can_end_access", writes=True)
CAN_READ_RECEIPTS = Permission("can_read_receipts", writes=False)
CAN_FOLLOW_FEED = Permission("can_follow_feed", writes=False)

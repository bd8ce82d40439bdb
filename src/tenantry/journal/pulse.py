"""What a node's last look told of the deployment beside its changes. Written by `Following`, read by whoever must refuse."""

import math

from tenantry.core.errors import Unavailable

BACKLOG_MS = 60_000
"""How long changes go on without anybody putting them under a checkpoint."""


class Pulse:
    """How far this node's clock is from the database's, until when somebody holds the duty to sequence, and whether what is sent out waits.

    `held`: a restored, copied or moved database was found, and no operator has confirmed it. Nothing may leave the deployment.
    `since_ms` is when this node began to look: after a long standstill it gives whoever sequences the same time to begin. `full_at` is
    the boot time, in seconds, of the newest set that found no space, written by the node's `Journal`.
    """

    def __init__(self) -> None:
        self.held = True
        self.skew_ms = 0
        self.since_ms = 0
        self.sequenced_until_ms: int | None = None
        self.full_at = -math.inf

    def unsigned_ms(self, now_ms: int) -> int:
        """How long nobody has been able to sequence the logs; 0 while somebody is, or before anybody ever was."""
        if self.sequenced_until_ms is None:
            return 0
        return max(0, now_ms - max(self.sequenced_until_ms, self.since_ms))

    def refuse_backlog(self, now_ms: int) -> None:
        """Refuse to record more than can be signed.

        Raises:
            Unavailable: nobody has been able to sequence the logs for `BACKLOG_MS`, for want of a signing key.
        """
        if self.unsigned_ms(now_ms) > BACKLOG_MS:
            raise Unavailable(
                "The audit log cannot be signed.", hint="Bring back the root key; `tenantry doctor` says more."
            )

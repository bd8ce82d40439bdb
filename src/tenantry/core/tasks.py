"""Ending tasks that run for as long as their owner."""

import asyncio
from typing import Any

_AGAIN_S = 1.0


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended.

    Before Python 3.12 `asyncio.wait_for` loses a cancellation that comes together with what it waits for, inside libraries too (a
    connection pool waits so), and the task goes on. So it is cancelled again until it ends.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN_S)
    if not task.cancelled():
        task.exception()

"""A task of ours ends although a library lost its cancellation."""

import asyncio
import contextlib

from tenantry.core.tasks import end


async def test_a_task_that_lost_one_cancellation_is_ended() -> None:
    started, lost = asyncio.Event(), asyncio.Event()

    async def lose_one() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            started.set()
            await asyncio.Event().wait()
        lost.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(lose_one())
    await started.wait()
    async with asyncio.timeout(5):
        await end(task)
    assert lost.is_set()
    assert task.cancelled()


async def test_ending_a_task_that_failed_is_quiet() -> None:
    async def fail() -> None:
        raise LookupError

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await end(task)
    assert task.done()

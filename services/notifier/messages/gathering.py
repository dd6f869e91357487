"""What is asked for at the same time is done together: for most of it, a transaction costs more than the work in it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

MOST = 50  # at once

T = TypeVar("T")
R = TypeVar("R")


class Gathering(Generic[T, R]):
    """Calls `together` with all that waits; while one call is under way the next one gathers.

    What fails together is tried again one by one, so that each answers for itself only.

    Args:
        together: Is given what came in the order in which it came, and answers in that order.
    """

    def __init__(self, together: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._together = together
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, one: T) -> R:
        """The answer for one.

        Raises:
            Exception: what `together` raises for it alone.
        """
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._do_all(), name="notifier.gathering")
        return await answer

    async def _do_all(self) -> None:
        while self._waiting:
            taken = self._waiting[:MOST]
            del self._waiting[: len(taken)]
            if not await self._do(taken) and len(taken) > 1:
                for one in taken:
                    await self._do([one])

    async def _do(self, taken: Sequence[tuple[T, "asyncio.Future[R]"]]) -> bool:
        try:
            answers = await self._together([one for one, _ in taken])
        except Exception as error:  # noqa: BLE001 - raised to who asked
            [*others, (_, future)] = taken
            if not others and not future.done():
                future.set_exception(error)
            return False
        for (_, future), answer in zip(taken, answers, strict=True):
            if not future.done():  # who asked may have been cancelled
                future.set_result(answer)
        return True

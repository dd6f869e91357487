"""What is asked for at the same time is done together: for most of it, a transaction costs more than the work in it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

MOST = 50  # at once

T = TypeVar("T")
R = TypeVar("R")


def _one(_: object) -> int:
    return 1


def _never(_: Exception) -> bool:
    return False


class Gathering(Generic[T, R]):
    """Calls `together` with all that waits; while one call is under way the next one gathers.

    What fails together is tried again one by one, so that each answers for itself only.

    Args:
        together: Is given what came in the order in which it came, and answers in that order.
        size: What one counts for.
        most: So much at once, or a single one that counts for more.
        of_all: Whether an error has nothing to do with what was asked for: then nothing is tried again.
    """

    def __init__(
        self,
        together: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        size: Callable[[T], int] = _one,
        most: int = MOST,
        of_all: Callable[[Exception], bool] = _never,
    ) -> None:
        self._together = together
        self._size = size
        self._most = most
        self._of_all = of_all
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and no call is under way."""
        return not self._waiting and (self._task is None or self._task.done())

    async def __call__(self, one: T) -> R:
        """The answer for one.

        Raises:
            Exception: what `together` raises for it alone, or for all.
        """
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._do_all(), name="notifier.gathering")
        return await answer

    async def _do_all(self) -> None:
        while self._waiting:
            taken = self._take()
            error = await self._do(taken)
            if error is None:
                continue
            if len(taken) == 1 or self._of_all(error):
                _refuse(taken, error)
            else:
                for one in taken:
                    if (its_own := await self._do([one])) is not None:
                        _refuse([one], its_own)

    def _take(self) -> "list[tuple[T, asyncio.Future[R]]]":
        size, number = 0, 0
        for one, _ in self._waiting:
            size += self._size(one)
            if number and size > self._most:
                break
            number += 1
        taken = self._waiting[:number]
        del self._waiting[:number]
        return taken

    async def _do(self, taken: Sequence[tuple[T, "asyncio.Future[R]"]]) -> Exception | None:
        try:
            answers = await self._together([one for one, _ in taken])
        except Exception as error:  # noqa: BLE001 - raised to who asked
            return error
        for (_, future), answer in zip(taken, answers, strict=True):
            if not future.done():  # who asked may have been cancelled
                future.set_result(answer)
        return None


def _refuse(taken: Sequence[tuple[T, "asyncio.Future[R]"]], error: Exception) -> None:
    for _, future in taken:
        if not future.done():
            future.set_exception(error)

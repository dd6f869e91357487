"""Report what goes wrong in a step of a pipeline, around it: `with reporting(stage=…)`, `async with`, or as a decorator."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import PurePath
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from shared.client.default_log import default_log
from shared.client.investigation_event import Severity, error_summary, reason_of, with_trace
from shared.client.investigation_log import InvestigationLog

P = ParamSpec("P")
R = TypeVar("R")


class reporting:  # noqa: N801 - used like a function, as `contextlib.suppress` is
    """An exception that leaves the block is reported, with its traceback, and goes on its way.

    `KeyboardInterrupt`, `SystemExit` and the cancellation of a task are no errors. Reporting neither raises nor waits for
    Penstock. One object may be used more than once, and by several threads or tasks at a time.

    Args:
        reason: Default: the exception's class, `FileNotFoundError` as `file_not_found_error`.
        resolve: When the block ends well, report that what has gone wrong here (of this supplier, stage and `reason`, which
            is needed for that) is over.
        log: Where to; default: as the environment says.

    Raises:
        ValueError: `resolve` without `reason`.
    """

    def __init__(
        self,
        *,
        stage: str,
        supplier: str | None = None,
        file: str | PurePath | Mapping[str, Any] | None = None,
        reason: str | None = None,
        severity: Severity = "error",
        extra: Mapping[str, Any] | None = None,
        resolve: bool = False,
        log: InvestigationLog | None = None,
    ) -> None:
        if resolve and reason is None:
            raise ValueError("resolve needs a reason: what is over must have a name")
        self._stage = stage
        self._supplier = supplier
        self._file = file
        self._reason = reason
        self._severity: Severity = severity
        self._extra = extra or {}
        self._resolve = resolve
        self._log = log

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        log = self._log or default_log()
        if isinstance(error, Exception):
            log.log(
                stage=self._stage,
                supplier=self._supplier,
                reason=self._reason or reason_of(type(error)),
                severity=self._severity,
                summary=error_summary(error),
                file=self._file,
                extra=with_trace(self._extra, error),
            )
        elif error is None and self._resolve and self._reason:
            log.log(
                stage=self._stage,
                supplier=self._supplier,
                reason=self._reason,
                action="resolve",
                file=self._file,
            )

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Written on the event loop: some tens of microseconds, and a cancellation cannot come between.
        self.__exit__(kind, error, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, or coroutine function, with each call within such a block."""
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def reported_later(*args: P.args, **kwargs: P.kwargs) -> Any:
                async with self:
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", reported_later)

        @wraps(function)
        def reported(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return reported

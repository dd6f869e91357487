"""The notifier, which kills itself in a named step: a program that forks one for each line that it reads.

    → {"step": "claimed", "environment": {…}, "port": 8003, "log": "…"}
    ← started 4711
    ← ended 4711 -9

What it is killed in is the step's own function, wrapped in the fork; the service knows nothing of it. Forks, as to import
all of it takes longer than to kill it ten times.
"""

import functools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from inspect import iscoroutinefunction
from types import MappingProxyType
from typing import Any

from penstock.serving import serve_one
from services.notifier import consumer
from services.notifier.deliveries import replaying, retention
from services.notifier.deliveries import repository as log_repository
from services.notifier.delivery import repository
from services.notifier.delivery.recorder import Recorder
from services.notifier.delivery.worker import DeliveryWorker
from shared.platform import retention as platform_retention

Place = tuple[Any, str]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(*place: Any, nth: int = 1, given: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Die where the `nth` call of a function for which `given` holds would begin."""
    owner, name = place
    function, calls = getattr(owner, name), 0

    @functools.wraps(function)
    def deadly(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += given(*arguments, **options)
        return die() if calls >= nth else function(*arguments, **options)

    setattr(owner, name, deadly)


def after(*place: Any) -> None:
    """Die where a coroutine function would return."""
    owner, name = place
    function = getattr(owner, name)
    assert iscoroutinefunction(function)

    @functools.wraps(function)
    async def deadly(*arguments: Any, **options: Any) -> None:
        await function(*arguments, **options)
        die()

    setattr(owner, name, deadly)


def in_small_steps(module: Any, step: int) -> None:
    module.STEP = step


def replaying_half() -> None:
    in_small_steps(replaying, 3)
    before(log_repository, "put_back", nth=2)


def purging_half() -> None:
    in_small_steps(retention, 3)
    purging()
    before(retention, "_step", nth=2)


def purging() -> None:
    """At once."""
    platform_retention.FIRST_SECONDS = 0.01


STEPS = MappingProxyType(
    {
        "none": lambda: None,
        # An event comes: in the transaction that makes its deliveries; committed, the message not acknowledged.
        "consuming": lambda: after(consumer, "fan_out"),
        "consumed": lambda: before(DeliveryWorker, "wake"),
        # It goes out: the leases are committed; what came back is known, and not yet told to the recorder.
        "claimed": lambda: before(DeliveryWorker, "_take", given=lambda _, claimed: bool(claimed)),
        "answered": lambda: before(DeliveryWorker, "_put"),
        # What came of it is written down: in the open transaction; with the next in order released; committed.
        "recording": lambda: after(repository, "record"),
        "released": lambda: after(repository, "release_next"),
        "recorded": lambda: before(Recorder, "_done"),
        # Somebody asks for it: the lease is committed; some of a replay is.
        "asked": lambda: before(DeliveryWorker, "send_now"),
        "replaying": replaying_half,
        "purging": purging_half,
        "purging whole": purging,
    }
)


def main() -> None:
    signal.signal(signal.SIGCHLD, report_ended)
    for line in sys.stdin:
        order = json.loads(line)
        if pid := os.fork():
            say(f"started {pid}")
        else:
            become_the_notifier(order)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def report_ended(*_: Any) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        say(f"ended {pid} {os.waitstatus_to_exitcode(status)}")


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def become_the_notifier(order: dict[str, Any]) -> None:
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        output = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.environ.update(order["environment"])
        STEPS[order["step"]]()
        serve_one("notifier", host="127.0.0.1", port=order["port"])
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, its place is the log
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()

"""A receiver, a spool, and what uses them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.client import InvestigationLog
from tests.client.given import Pipeline, Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """One that is away until it is started."""
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def log(receiver: Receiver, spool: Path) -> Iterator[InvestigationLog]:
    with InvestigationLog(receiver.url, "secret", spool=spool) as made:
        yield made


@pytest.fixture
def pipeline(receiver: Receiver, spool: Path) -> Iterator[Callable[[str], Pipeline]]:
    started: list[Pipeline] = []

    def start(code: str) -> Pipeline:
        started.append(Pipeline(code, receiver, spool))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.kill()

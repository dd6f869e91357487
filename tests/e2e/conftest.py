"""A stack on either transport."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.e2e.stack import Stack


@pytest.fixture(params=["embedded", "rabbitmq"])
def bus_url(request) -> str | None:
    return None if request.param == "embedded" else request.getfixturevalue("rabbit_url")


@pytest.fixture
async def new_stack(database_url, bus_url, tmp_path) -> AsyncIterator[Callable[..., Stack]]:
    """Makes stacks that are not started yet, with settings such as `PENSTOCK_SLICE_BYTES="2097152"`."""
    made: list[Stack] = []

    def new(**settings: str) -> Stack:
        stack = Stack(tmp_path, database_url, bus_url, settings)
        made.append(stack)
        return stack

    yield new
    for stack in made:
        await stack.close()

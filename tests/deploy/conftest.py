"""One running stack for all tests that ask for it."""

import os
from collections.abc import Iterator

import pytest

from tests.deploy.stack import Stack, Unavailable


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if os.environ.get("PENSTOCK_TEST_DEPLOY") != "yes":
        pytest.skip("builds images and starts containers, which takes minutes: make test-deploy")
    try:
        made = Stack(tmp_path_factory.mktemp("deploy"))
    except Unavailable as error:
        pytest.fail(str(error))  # which were asked for
    try:
        made.start()
        yield made
    finally:
        made.stop("--volumes", "--timeout=2")

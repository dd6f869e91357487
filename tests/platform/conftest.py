"""Logs as a process writes them, put back afterwards."""

import logging

import pytest
import structlog

from shared.platform import logs


@pytest.fixture
def configure():
    """`logs.configure`, undone afterwards. To be called in the test: what pytest captures changes before it."""
    level = logging.getLogger().level
    yield logs.configure
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if type(handler) is not logging.StreamHandler]
    root.setLevel(level)
    structlog.reset_defaults()

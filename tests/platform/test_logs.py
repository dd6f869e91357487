"""What is logged: JSON lines that can be put together by their trace, and nothing that is not ours to keep."""

import json
import logging

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.platform import logs
from shared.platform.database import engine_for

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@pytest.fixture
def json_lines(configure, capsys):
    """Begins to log; called again, it gives what was written since."""

    def lines():
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    def begin():
        configure(level="info", style="json")
        return lines

    return begin


def crash():
    password = "swordfish"
    raise ValueError(f"{len(password)} characters")


async def test_a_line_is_json_with_its_name_time_level_and_values(json_lines):
    written = json_lines()
    logs.get_logger("here").info("import.uploaded", bytes=7, name='Bü"cher\n')
    [line] = written()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "import.uploaded",
        "level": "info",
        "logger": "here",
        "bytes": 7,
        "name": 'Bü"cher\n',
    }


async def test_every_line_of_a_request_carries_its_trace(json_lines):
    written = json_lines()
    with logs.bound(traceparent=TRACEPARENT, tenant="acme", nothing=None):
        logs.get_logger("ours").info("one.done")
        logging.getLogger("a.library").warning("theirs")
    logs.get_logger("ours").info("none.left")
    ours, theirs, after = written()
    assert ours["trace_id"] == theirs["trace_id"] == TRACE_ID
    assert (theirs["event"], theirs["tenant"]) == ("theirs", "acme")
    assert "traceparent" not in ours
    assert "nothing" not in ours
    assert not {"trace_id", "tenant"} & set(after)


@pytest.mark.parametrize("style", ["json", "console"])
async def test_an_exception_is_told_without_the_values_in_it(configure, capsys, style):
    configure(level="info", style=style)
    try:
        crash()
    except ValueError:
        logs.get_logger("here").exception("it.failed")
        logging.getLogger("a.library").exception("theirs")
    said = capsys.readouterr().err
    assert said.count("ValueError: 9 characters") == 2
    assert "in crash" in said
    assert "'swordfish'" not in said
    assert "\n  password" not in said


async def test_an_exception_is_one_line(json_lines):
    written = json_lines()
    try:
        crash()
    except ValueError:
        logs.get_logger("here").exception("it.failed")
    [line] = written()
    assert "Traceback" in line["exception"]


async def test_a_failed_statement_is_told_without_its_parameters(database_url, json_lines):
    written = json_lines()
    engine = engine_for(database_url, "upload", pool_size=1)
    try:
        async with engine.connect() as connection:
            await connection.execute(
                text("SELECT 1 / length(:word) - length(:word) / 0"), {"word": "swordfish"}
            )
    except DBAPIError:
        logs.get_logger("here").exception("it.failed")
    await engine.dispose()
    [line] = written()
    assert "division by zero" in line["exception"]
    assert "swordfish" not in json.dumps(line)


async def test_the_level_is_kept_and_libraries_are_quieter(json_lines, monkeypatch):
    # A uvicorn without an access log, which other tests have run in this process, leaves it cut off.
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
    written = json_lines()
    logs.get_logger("ours").debug("too.much")
    for noisy in ("uvicorn.access", "httpx", "aio_pika", "alembic", "penstock.bus"):
        logging.getLogger(noisy).info("one line a request")
        logging.getLogger(noisy).warning(noisy)
    assert [line["event"] for line in written()] == [
        "uvicorn.access",
        "httpx",
        "aio_pika",
        "alembic",
        "penstock.bus",
    ]


def test_a_new_trace_is_one():
    made = {logs.new_traceparent() for _ in range(100)}
    assert len(made) == 100
    assert None not in {logs.trace_id_of(traceparent) for traceparent in made}

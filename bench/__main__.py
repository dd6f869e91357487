"""`python -m bench`: measures, and prints one JSON line a figure; all else goes to standard error."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Iterable
from types import FrameType
from typing import NoReturn

from bench import registry
from bench.bench import Bench, NotMeasured, opened, say
from bench.report import missing_line
from penstock.local.processes import LocalServerError
from shared.client import ClientError

PRODUCTS = 861_688  # records of the file that the goals are about, about 116 MB
ROUNDS = 3
FAILED, USAGE, INTERRUPTED = 1, 2, 130  # exit codes


def main() -> int:
    """Measure what the command line asks for. 0 if every figure could be measured."""
    arguments = _parser().parse_args()
    try:
        wanted = registry.choose(filter(None, arguments.only.split(",")))
    except LookupError as error:
        say(str(error))
        return USAGE
    _leave_in_order()
    try:
        with opened(
            wanted=wanted, rows=arguments.rows, rounds=arguments.rounds, large=arguments.large
        ) as bench:
            return _measure(bench)
    except KeyboardInterrupt:
        say("Interrupted; all is cleaned up.")
        return INTERRUPTED
    except LocalServerError as error:
        say(str(error))
        return FAILED


def _measure(bench: Bench) -> int:
    code = 0
    for measurement in registry.measurements():
        left = [name for name in measurement.names if name in bench.wanted]
        if not left:
            continue
        say(f"Measuring {', '.join(left)} …")
        try:
            for figure in measurement.measure(bench):
                left.remove(figure.name)
                print(figure.line(), flush=True)
        except (NotMeasured, ClientError) as error:
            code = FAILED
            say(str(error))
            _miss(left, error)
        except Exception as error:  # noqa: BLE001 - what breaks one figure must not cost the others
            code = FAILED
            traceback.print_exc()
            _miss(left, error)
    return code


def _miss(names: Iterable[str], error: Exception) -> None:
    for name in names:
        print(missing_line(name, str(error) or type(error).__name__), flush=True)


def _leave_in_order() -> None:
    """The first signal to end cleans up; no other may break into that."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def leave(_: int, __: FrameType | None) -> NoReturn:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, leave)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", default="", metavar="NAMES", help=f"some of: {','.join(registry.figure_names())}"
    )
    parser.add_argument("--rounds", type=_positive, default=ROUNDS, help=f"repetitions ({ROUNDS})")
    parser.add_argument("--rows", type=_positive, default=PRODUCTS, help=f"records of the file ({PRODUCTS})")
    parser.add_argument(
        "--large",
        action="store_true",
        default=os.environ.get("BENCH_LARGE") == "1",
        help="files of 5 GB and tables of 10 M records too (or BENCH_LARGE=1): needs 40 GB and an hour",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text.replace("_", ""))
    if number < 1:
        raise ValueError(f"{text} is not a positive number")
    return number


if __name__ == "__main__":
    sys.exit(main())

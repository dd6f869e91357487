"""Which figures there are. A module in `bench.figures` declares its own; nothing else needs to know of it."""

import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module

from bench.bench import Bench
from bench.report import Figure

Measure = Callable[[Bench], Iterator[Figure]]


@dataclass(frozen=True)
class Measurement:
    """A function, and the names of the figures it measures together because they share their costly parts."""

    names: tuple[str, ...]
    measure: Measure


_measurements: list[Measurement] = []


def measures(*names: str) -> Callable[[Measure], Measure]:
    """Declare that a function yields the figures `names`, or those of them that its bench wants."""

    def declare(measure: Measure) -> Measure:
        _measurements.append(Measurement(names, measure))
        return measure

    return declare


def measurements() -> list[Measurement]:
    """All that the modules of `bench.figures` declare, in the order of the modules' names."""
    package = import_module("bench.figures")
    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"bench.figures.{module.name}")
    return list(_measurements)


def figure_names() -> list[str]:
    return [name for measurement in measurements() for name in measurement.names]


def choose(only: Iterable[str]) -> frozenset[str]:
    """The names of the figures to measure: `only`, or all if it is empty.

    Raises:
        LookupError: there is no figure of that name.
    """
    wanted, known = frozenset(only), figure_names()
    if unknown := wanted.difference(known):
        raise LookupError(f"there is no figure {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    return wanted or frozenset(known)

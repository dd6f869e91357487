"""Figures have fixed names, and the README tells all of them."""

import re
from pathlib import Path

import pytest

from bench import registry

README = Path(__file__).parent.parent.parent / "README.md"
NAMES = {
    "import_new",
    "import_changed",
    "import_unchanged",
    "import_all_bad",
    "import_naive",
    "import_memory",
    "import_growth",
    "import_four_at_once",
    "reading",
    "inspect_throughput",
}


def test_the_names_that_scripts_rely_on_are_there() -> None:
    assert set(registry.figure_names()) >= NAMES


def test_no_name_is_given_twice() -> None:
    names = registry.figure_names()

    assert len(names) == len(set(names))


def test_the_readme_lists_the_figures_that_are_there() -> None:
    section = README.read_text(encoding="utf-8").partition("## Measuring")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(registry.figure_names())


def test_all_are_measured_unless_some_are_chosen() -> None:
    assert registry.choose([]) == set(registry.figure_names())
    assert registry.choose(["reading", "import_new"]) == {"reading", "import_new"}


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(LookupError, match=r"import_old.*import_new"):
        registry.choose(["import_old", "import_new"])

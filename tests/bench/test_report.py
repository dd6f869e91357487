"""One JSON line a figure, whatever happened."""

import json

from bench.report import Figure, missing_line


def test_a_figure_is_one_line_with_its_ratio() -> None:
    detail = {"rounds": [1.23456, 2.0], "by_size": {"10 MB": 3.33333}, "rows": 7, "note": "two\nlines"}
    figure = Figure("import_new", 6.0, "s", 8.0, "<= 1.0", detail)

    line = figure.line()

    assert "\n" not in line
    assert json.loads(line) == {
        "name": "import_new",
        "value": 6.0,
        "unit": "s",
        "baseline": 8.0,
        "ratio": 0.75,
        "goal": "<= 1.0",
        "detail": {"rounds": [1.235, 2.0], "by_size": {"10 MB": 3.333}, "rows": 7, "note": "two\nlines"},
    }


def test_the_ratio_comes_from_what_was_measured_not_from_what_is_shown() -> None:
    assert json.loads(Figure("tiny", 0.0001, "s", 0.0004).line())["ratio"] == 0.25


def test_a_figure_that_is_missing_says_why_in_one_line() -> None:
    line = missing_line("import_memory", "the processor did not start; its log:\nboom")

    assert json.loads(line) == {
        "name": "import_memory",
        "value": None,
        "unit": None,
        "baseline": None,
        "ratio": None,
        "error": "the processor did not start; its log:",
    }

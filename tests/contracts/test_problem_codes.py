"""Every code that an answer can have is in the README's table, beside its status; and none that no answer has."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from services.upload.inspection import problem_of
from shared.contracts import problems
from shared.reading import errors as reading

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("penstock", "services", "shared") for path in (ROOT / folder).rglob("*.py")]
KINDS = {
    name: kind.status
    for name, kind in vars(problems).items()
    if isinstance(kind, type) and issubclass(kind, problems.Problem)
}
UNREADABLE = [
    kind
    for kind in vars(reading).values()
    if isinstance(kind, type) and issubclass(kind, reading.UnreadableFile) and "code" in vars(kind)
]


def documented() -> set[tuple[str, str]]:
    """(status, code) of each entry of the table in the README."""
    table = re.findall(
        r"^\| (\d{3}|other) \| (`.+) \|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE
    )
    return {(status, code) for status, codes in table for code in re.findall("`([a-z_]+)`", codes)}


def raised() -> set[tuple[str, str]]:
    """(class, code) of each problem that the sources make."""
    found = set()
    for path in SOURCES:
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.ClassDef):
                found |= set(codes_of_class(function))
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for call in calls_in(function):
                    codes = set(strings_of(call.args[0], function))
                    assert codes, f"{path}:{call.lineno}: what code is that?"
                    found |= {(call.func.id, code) for code in codes}
    return found


def calls_in(function: ast.AST) -> Iterator[ast.Call]:
    for call in ast.walk(function):
        # A problem always has a code: what is called without arguments is another class of the same name.
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id in KINDS
            and call.args
        ):
            yield call


def codes_of_class(made: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """(class, code) of a problem that is a class of its own, which hands its code to `super().__init__`."""
    kinds = [base.id for base in made.bases if isinstance(base, ast.Name) and base.id in KINDS]
    for call in ast.walk(made):
        match call:
            case ast.Call(args=[ast.Constant(value=str(code)), *_]) if (
                ast.unparse(call.func) == "super().__init__"
            ):
                yield from ((kind, code) for kind in kinds)


def strings_of(argument: ast.expr, function: ast.AST) -> Iterator[str]:
    """The strings that `argument` may be: those in it, or where it is a name, in what the function assigns to it."""
    if isinstance(argument, ast.Name):
        for statement in ast.walk(function):
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == argument.id:
                yield from strings_of(statement.value, function)
        return
    for part in ast.walk(argument):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def test_the_table_has_the_codes_of_the_sources_and_no_others() -> None:
    used = {code for _, code in raised()} | {kind.code for kind in UNREADABLE}
    assert {code for _, code in documented()} == used


def test_each_code_is_at_its_status() -> None:
    expected = {(str(KINDS[kind]), code) for kind, code in raised() if kind != "Problem"}
    for kind in UNREADABLE:
        problem = problem_of(kind("what", hint="do"))
        expected.add((str(problem.status), problem.code))
    assert expected - documented() == set()


def test_one_word_for_what_is_not_there() -> None:
    missing = {code for kind, code in raised() if kind == "NotFound"} - {
        "not_found",
        "receipt_not_ready",
        "row_not_read_yet",
    }
    assert [code for code in missing if not code.endswith("_not_found")] == []
    assert {kind for kind, code in raised() if code.endswith("_not_found")} == {"NotFound"}

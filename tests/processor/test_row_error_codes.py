"""Every code of a row error is in the README's table, with an example that has it; and none that no record can have."""

import re
from pathlib import Path
from typing import get_args

import pytest

from services.processor.checking.faults import CheckCode, LoadCode
from shared.reading.errors import FaultCode
from tests.processor.batches import check_values, declared

README = Path(__file__).parents[2] / "README.md"

# The field that finds the README's example wrong. The other codes are about whole records, or about what cannot be printed.
FIELDS = {
    "above_maximum": declared("integer", maximum="next-year"),
    "below_minimum": declared("number", minimum=0),
    "date_ambiguous": declared("date", format="any"),
    "date_order_mixed": declared("date", format="any"),
    "email_invalid": declared(format="email"),
    "isbn_invalid": declared(format="isbn"),
    "not_a_boolean": declared("boolean"),
    "not_a_date": declared("date", format="any"),
    "not_a_datetime": declared("datetime", format="any"),
    "not_a_number": declared("number", groupChar=",", bareNumber=False),
    "not_a_year": declared("year"),
    "not_allowed": declared(enum=["new", "used"]),
    "not_an_integer": declared("integer"),
    "number_too_large": declared("number"),
    "number_too_precise": declared("number"),
    "pattern_mismatch": declared(pattern="[A-Z]{3}", maxLength=10),
    "spreadsheet_number": declared(identifier=True),
    "uri_invalid": declared(format="uri"),
    "uuid_invalid": declared(format="uuid"),
    "value_too_long": declared(maxLength=3),
    "value_too_short": declared(minLength=5),
    "zero_not_allowed": declared("integer", nonzero=True),
}
ORDERS = {"date_order_mixed": {"value": "day-first"}}


def documented() -> dict[str, str]:
    """The example of each code in the README's table of row errors."""
    section = README.read_text("utf-8").partition("### Row errors")[2].partition("\n#")[0]
    return dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$", section, re.MULTILINE))


def test_the_table_has_the_codes_of_the_sources_and_no_others():
    codes = {code for kind in (FaultCode, CheckCode, LoadCode) for code in get_args(kind)}
    assert set(documented()) == codes


@pytest.mark.parametrize("code", sorted(FIELDS))
def test_the_example_has_the_code(code):
    [value] = re.findall("`(.+?)`", documented()[code])
    checked = check_values(FIELDS[code], value, date_orders=ORDERS.get(code, {}))
    assert [fault.code for fault in checked.faults[0]] == [code]
    [fault] = checked.faults[0]
    assert fault.rule
    assert fault.hint


def test_an_example_without_a_value_is_of_a_code_that_has_none():
    wordy = {code for code, example in documented().items() if "`" not in example}
    assert wordy | set(FIELDS) == set(documented())
    assert wordy & set(FIELDS) == set()

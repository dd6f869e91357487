"""Quotes with their totals, and what the look-up of stock codes finds in them; against models."""

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from tests.processor.given import SLICES, balance, on_real_servers, written

COLUMNS = (
    "quote_number", "line_number", "quoted_on", "customer", "stock_code", "quantity", "unit_price", "total_price",
)  # fmt: skip
LINES = st.tuples(
    st.sampled_from(["q1", "q2", "q10"]),
    st.sampled_from(["1", "2", "11"]),
    st.sampled_from([None, "2024-01-01", "2024-02-02"]),
    st.sampled_from([None, "Ada", "Bea"]),
    st.sampled_from(["x", "X", "y", "ß"]),
    st.sampled_from([None, "2", "-1"]),
    st.sampled_from([None, "0.1", "0.2", "3.0001"]),
    st.sampled_from(["0.3", "99999999999999.9999", None]),
).filter(lambda line: line[-1] or line[-2])
PARTS = ("x", "z")
CODES = st.lists(st.sampled_from(["x", "X", "y", "z", "none", "SS"]), max_size=6)


def amount_of(line):
    *_, quantity, unit_price, total_price = line
    return Decimal(total_price) if total_price else Decimal(unit_price) * int(quantity or 1)


class Model(dict):
    """Line items by quote and line number, a later one in place of an earlier one."""

    def totals(self):
        quotes = defaultdict(list)
        for (quote, _), line in self.items():
            quotes[quote].append(line)
        return {
            quote: (
                len(lines),
                sum(map(amount_of, lines)),
                max((line[2] for line in lines if line[2]), default=None),
                max((line[3] for line in lines if line[3]), default=None),
            )
            for quote, lines in quotes.items()
        }

    def look_up(self, code):
        lines = [(key, line) for key, line in self.items() if line[4].casefold() == code]
        quotes = {quote for (quote, _), _ in lines}
        return len(quotes), len(lines), sum((amount_of(line) for _, line in lines), Decimal(0)), code in PARTS


async def load(mill, dataset, header, rows, *at, **options):
    slice_bytes, tenant = at
    return await mill.load(
        written(header, rows),
        mill.pipeline(slice_bytes=slice_bytes),
        dataset=dataset,
        tenant=tenant,
        dialect=Dialect(),
        **options,
    )


@on_real_servers(30)
@given(
    st.lists(
        st.tuples(st.lists(LINES, max_size=9), st.sampled_from(SLICES), st.booleans(), CODES),
        min_size=1,
        max_size=3,
    )
)
async def test_totals_follow_the_line_items_and_the_look_up_finds_them(mill, rounds):
    tenant, model = str(uuid4()), Model()
    await load(mill, "parts", ["stock_code"], [[code] for code in PARTS], 1 << 20, tenant)
    for lines, slice_bytes, atomic, codes in rounds:
        await load(mill, "quotes", COLUMNS, lines, slice_bytes, tenant, options={"atomic": atomic})
        model |= {(line[0], line[1]): line for line in lines}
        assert await totals_of(mill, tenant) == model.totals()
        work = await load(
            mill, "stock-codes", ["stock_code"], [[code] for code in codes], slice_bytes, tenant
        )
        expected = {code.casefold(): model.look_up(code.casefold()) for code in codes}
        assert await results_of(mill, tenant, work["import_id"]) == expected
        assert balance(work)["inserted"] == len(expected)


async def totals_of(mill, tenant):
    return {
        row["key"]: (
            row["line_items"],
            row["total_price"],
            row["quoted_on"] and row["quoted_on"].isoformat(),
            row["customer"],
        )
        for row in await mill.records("quote_totals", tenant=tenant)
    }


async def results_of(mill, tenant, import_id):
    names = ("quotes_found", "line_items_found", "total_price", "part_found")
    return {
        row["stock_code"].casefold(): tuple(row[name] for name in names)
        for row in await mill.records("stock_codes", tenant=tenant)
        if row["import_id"] == import_id
    }


async def test_a_result_says_which_file_asked_and_when_it_came(mill):
    when = datetime(2024, 5, 6, tzinfo=UTC)
    await load(mill, "stock-codes", ["stock_code"], [["x"]], 1, "acme", file_name="ask.csv", uploaded_at=when)
    [result] = await mill.records("stock_codes")
    assert (result["file_name"], result["file_uploaded"], result["stock_code"]) == ("ask.csv", when, "x")


async def test_the_same_code_in_the_next_import_has_a_result_of_its_own(mill):
    first = await load(mill, "stock-codes", ["stock_code"], [["x"]], 1, "acme")
    line = ("q", "1", None, None, "X", None, "0.1", None)
    await load(mill, "quotes", COLUMNS, [line], 1, "acme")
    second = await load(mill, "stock-codes", ["stock_code"], [["x"]], 1, "acme")
    assert await results_of(mill, "acme", first["import_id"]) == {"x": (0, 0, 0, False)}
    assert await results_of(mill, "acme", second["import_id"]) == {"x": (1, 1, Decimal("0.1"), False)}


async def test_results_look_at_the_own_tenant_only(mill):
    line = ("q", "1", None, None, "x", None, "1", None)
    await load(mill, "quotes", COLUMNS, [line], 1, "other")
    await load(mill, "parts", ["stock_code"], [["x"]], 1, "other")
    work = await load(mill, "stock-codes", ["stock_code"], [["x"]], 1, "acme")
    assert await results_of(mill, "acme", work["import_id"]) == {"x": (0, 0, 0, False)}


async def test_a_line_item_that_is_overwritten_leaves_the_others_of_its_quote(mill):
    lines = [("q", str(number), None, None, "x", None, "1", None) for number in (1, 2, 3)]
    await load(mill, "quotes", COLUMNS, lines, 1 << 20, "acme")
    work = await load(mill, "quotes", COLUMNS, [("Q", "2", None, None, "y", "5", "2", None)], 1, "acme")
    assert balance(work)["updated"] == 1
    [total] = await mill.records("quote_totals")
    assert (total["line_items"], total["total_price"]) == (3, 12)

"""The words of records and of what is sought: SQL does what a model does, and nothing that is written breaks it."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.contracts.record_search import has_words
from tests.processor.searching import finds, words_in

LETTERS = "aAzZéÉßäÖñçøŁŒſﬁÅΣσςЖжІıİ\u0301\u0308日本カﾊ漢09٣½²Ⅷ ㎏"
SEPARATORS = " -_./'’\"\\:&|!*()<>@#,;\n\t\u00a0\u3000‘…€"
TEXTS = st.text(st.sampled_from(LETTERS + SEPARATORS), max_size=30)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)

WORDS_OF = "SELECT tsvector_to_array(data.words_of('acme', $1)), left(md5('acme'), 3) AS mark"
MATCHES = """
    SELECT data.words_of('acme', $1) @@ data.query_of('acme', $2) AS matches,
        data.words_of('other', $1) @@ data.query_of('acme', $2) AS of_another,
        data.query_of('acme', $2) = '' AS seeks_nothing
"""


@settings(max_examples=300)
@given(TEXTS, TEXTS, st.integers(0, 40))
@example("WBH-001, O'Reilly's Straße №5", "wbh-001 oreilly", 0)
@example("CAFÉ 1.5", "cafe 1", 0)
@example("日本語", "本", 0)
@example("a" * 501, "a" * 500, 0)
@example("a" * 501 + "b", "a" * 501, 0)
@example("x " * 300 + "y" * 499, "y" * 500, 0)
@example("é" * 700, "E" * 700, 0)
async def test_words_are_those_of_the_model_in_records_and_in_what_is_sought(mill, content, other, cut):
    words, mark = await mill.database.fetchrow(WORDS_OF, content)
    assert {word.removeprefix(mark) for word in words} == set(words_in(content))
    assert all(word.startswith(mark) for word in words)
    for sought in (other, content[cut:], content[: -cut or None]):
        row = await mill.database.fetchrow(MATCHES, content, sought)
        assert row["matches"] == finds(sought, content)
        assert not row["of_another"]
        assert row["seeks_nothing"] == (not words_in(sought))
        assert has_words(sought) or row["seeks_nothing"]


@settings(max_examples=200)
@given(ANY_TEXT)
@example("ﷺ" * 20_000)
@example("\U00020000" * 20_000)
@example("a" * 210_000)
@example("क्षि \U0001f170 '\\'':*&!|")
async def test_every_text_that_has_words_is_found_by_them(mill, content):
    row = await mill.database.fetchrow(MATCHES, content, content)
    assert row["matches"] != row["seeks_nothing"]

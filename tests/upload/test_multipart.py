"""Multipart forms as a stream: whatever comes is either read exactly or refused with a reason."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from services.upload.multipart import FIELD_LIMIT_BYTES, FORM_LIMIT_BYTES, FormStream
from shared.contracts.problems import Problem, Unprocessable

BOUNDARY = "----gate7MA4YWxk"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
patient = settings(deadline=None)


def part(name, body, *, file_name=None, headers=()):
    disposition = f'form-data; name="{name}"'
    if file_name is not None:
        disposition += f'; filename="{file_name}"'
    lines = [f"Content-Disposition: {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def form(*parts, end="--\r\n"):
    body = b"".join(f"--{BOUNDARY}\r\n".encode() + one + b"\r\n" for one in parts)
    return body + f"--{BOUNDARY}{end}".encode()


async def chunks_of(body, cuts=()):
    bounds = [0, *sorted({cut for cut in cuts if cut < len(body)}), len(body)]
    for start, stop in pairwise(bounds):
        yield body[start:stop]


async def read(body, cuts=(), content_type=CONTENT_TYPE):
    """The file, its name and the fields of a form."""
    stream = FormStream(content_type, chunks_of(body, cuts))
    await stream.find_file()
    content = b"".join([chunk async for chunk in stream.file_chunks()])
    await stream.finish()
    return content, stream.file_name, stream.fields


async def refused(body, content_type=CONTENT_TYPE):
    with pytest.raises(Problem) as caught:
        await read(body, content_type=content_type)
    return caught.value.code


names = st.text(st.characters(codec="utf-8", exclude_categories=("C",), exclude_characters='"\\'), min_size=1)
cuts = st.sets(st.integers(0, 3000), max_size=12)
# Bytes that look like a boundary, or the beginning of one, are what breaks parsers.
boundary_pieces = [b"\r", b"\n", b"-", b"\r\n--", f"\r\n--{BOUNDARY[:-1]}".encode(), BOUNDARY.encode(), b"a"]
contents = st.one_of(
    st.binary(max_size=500), st.lists(st.sampled_from(boundary_pieces), max_size=30).map(b"".join)
)


@patient
@given(
    content=contents,
    fields=st.dictionaries(names.filter(lambda name: name != "file"), st.text(max_size=50), max_size=4),
    before=st.integers(0, 4),
    cuts=cuts,
)
@example(content=b"", fields={}, before=0, cuts=set())
@example(content=b"\r\n", fields={"a": ""}, before=1, cuts=set(range(3000)))
async def test_any_form_comes_back_however_it_is_cut(content, fields, before, cuts):
    values = [value.encode() for value in fields.values()]
    assume(all(f"\r\n--{BOUNDARY}".encode() not in b"\r\n" + value + b"\r\n" for value in [content, *values]))
    parts = [part(name, value.encode()) for name, value in fields.items()]
    parts.insert(before, part("file", content, file_name="a.csv"))
    assert await read(form(*parts), cuts) == (content, "a.csv", fields)


@patient
@given(st.binary(max_size=300), st.integers(0, 300), cuts)
async def test_no_body_is_a_crash(noise, place, cuts):
    """Noise put into a right form is read or refused."""
    right = form(part("dataset", b"books"), part("file", b"a,b\n1,2\n", file_name="a.csv"))
    place = min(place, len(right))
    with suppress(Unprocessable):
        await read(right[:place] + noise + right[place:], cuts)


@patient
@given(st.integers(0, 400))
async def test_a_form_cut_short_is_refused(length):
    whole = form(part("dataset", b"books"), part("file", b"a,b\n1,2\n", file_name="a.csv"), end="--")
    assume(length < len(whole))
    assert await refused(whole[:length]) in {"form_malformed", "file_missing"}


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_fields_may_come_before_and_after_the_file(place):
    parts = [part("dataset", b"books"), part("data_source_name", "Bücher & Co".encode())]
    parts.insert(place, part("file", b"a,b\n", file_name="a.csv"))
    assert await read(form(*parts)) == (
        b"a,b\n",
        "a.csv",
        {"dataset": "books", "data_source_name": "Bücher & Co"},
    )


async def test_the_fields_before_the_file_are_known_while_it_flows():
    body = form(part("dataset", b"books"), part("file", b"a,b\n", file_name="a.csv"), part("late", b"x"))
    stream = FormStream(CONTENT_TYPE, chunks_of(body))
    await stream.find_file()
    assert stream.fields["dataset"] == "books"


async def test_a_form_tells_whether_it_was_read_to_its_end():
    body = form(part("file", b"a,b\n" * 100, file_name="a.csv"), part("dataset", b"books"))
    whole, begun = FormStream(CONTENT_TYPE, chunks_of(body)), FormStream(CONTENT_TYPE, chunks_of(body, {200}))
    for stream in (whole, begun):
        await stream.find_file()
    assert (whole.has_ended, whole.fields) == (True, {"dataset": "books"})
    assert (begun.has_ended, begun.fields) == (False, {})


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ('filename="books.csv"', "books.csv"),
        ("filename=books.csv", "books.csv"),
        ('filename="Bücher März.csv"', "Bücher März.csv"),
        ('filename="目录.csv"', "目录.csv"),
        ("filename*=UTF-8''B%C3%BCcher.csv", "Bücher.csv"),
        ("filename*=utf-8'de'B%C3%BCcher%20M%C3%A4rz.csv", "Bücher März.csv"),
        ("filename*=iso-8859-1''B%FCcher.csv", "Bücher.csv"),
        ("filename=\"B_cher.csv\"; filename*=UTF-8''B%C3%BCcher.csv", "Bücher.csv"),
        ("filename*=klingon''B%C3%BC.csv", "BÃ¼.csv"),
        ('filename="a \\"b\\".csv"', 'a "b".csv'),
        ('filename="a;b=c.csv"', "a;b=c.csv"),
        ('filename=""', ""),
        ('filename="a\nb.csv"', "a\nb.csv"),
        ("filename*=a\0b''c.csv", "c.csv"),
        ("filename*=idna''%ff.csv", "ÿ.csv"),
        ("x=y", ""),
    ],
)
async def test_the_file_name_as_clients_write_it(parameter, name):
    disposition = f'Content-Disposition: form-data; name="file"; {parameter}\r\n\r\n'.encode()
    assert await read(form(disposition + b"a,b\n")) == (b"a,b\n", name, {})


async def test_a_quoted_boundary_and_other_letter_case_are_fine():
    boundary = "two words"
    body = f"--{boundary}\r\ncontent-DISPOSITION: form-data; name=file\r\n\r\na\r\n--{boundary}--".encode()
    assert await read(body, content_type=f'Multipart/Form-Data; BOUNDARY="{boundary}"') == (b"a", "", {})


async def test_what_follows_the_form_is_passed_over():
    assert (await read(form(part("file", b"a")) + b"anything"))[0] == b"a"


FILE = part("file", b"a,b\n", file_name="a.csv")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "file_missing"),
        (form(), "file_missing"),
        (form(part("dataset", b"books")), "file_missing"),
        (b"not a form", "form_malformed"),
        (f"--{BOUNDARY}\r\n".encode(), "file_missing"),
        (form(b"\r\na,b\n"), "form_malformed"),
        (form(b"Content-Disposition: form-data\r\n\r\nx"), "form_malformed"),
        (form(b"Bad Header: x\r\n\r\nx"), "form_malformed"),
        (form(b": x\r\n\r\nx"), "form_malformed"),
        (form(FILE, end=""), "form_malformed"),
        (form(FILE)[:-20], "form_malformed"),
        (form(FILE, FILE), "file_repeated"),
        (form(part("dataset", b"a"), part("dataset", b"b"), FILE), "field_repeated"),
        (form(part("dataset", b"x" * (FIELD_LIMIT_BYTES + 1)), FILE), "fields_too_large"),
        (form(FILE, part("dataset", b"x" * (FIELD_LIMIT_BYTES + 1))), "fields_too_large"),
        (form(part("x" * 10_000, b""), FILE), "form_malformed"),
        (form(*(part(f"field{number}", b"") for number in range(5000)), FILE), "fields_too_large"),
        (form(part("dataset", b"books", headers=[f"X-{n}: y" for n in range(20)]), FILE), "form_malformed"),
    ],
)  # fmt: skip
async def test_a_form_that_is_no_good_is_refused_by_name(body, code):
    assert await refused(body) == code


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        f"multipart/form-data; boundary={'x' * 300}",
        "multipart/form-data; boundary=bücher",
        "multipart/form-data; boundary*=utf-8''%E2%82%AC",
        "multipart/form-data; boundary=\u20ac",
    ],
)
async def test_a_boundary_that_is_no_good_is_refused(content_type):
    assert await refused(form(FILE), content_type) == "form_malformed"


@pytest.mark.parametrize("where", ["before", "behind"])
async def test_what_is_neither_file_nor_field_is_limited(where):
    """A preamble, and an epilogue (RFC 2046, section 5.1.1), which might never end."""
    whole = form(part("dataset", b"books"), part("file", b"a" * 1000, file_name="a.csv"))
    surplus = b"x" * (FORM_LIMIT_BYTES + 1)
    content, _, _ = await read(whole + b"\r\n" + surplus[:1000])
    assert content == b"a" * 1000
    body = surplus + b"\r\n" + whole if where == "before" else whole + b"\r\n" + surplus
    assert await refused(body) == "form_malformed"


async def test_a_file_is_not():
    large = b"a" * (FORM_LIMIT_BYTES * 3)
    content, _, _ = await read(form(part("dataset", b"books"), part("file", large, file_name="a.csv")))
    assert content == large


@pytest.mark.parametrize(
    "parameters",
    [
        "name=file; filename*=utf-8''a.csv; filename*0=b",
        "name=file; filename*=a; filename*0*=b; filename*1*=%ff",
        f"name=file; q*{'9' * 4400}=1",
    ],
)
async def test_parameters_that_contradict_each_other_are_refused(parameters):
    body = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {parameters}\r\n\r\na\r\n--{BOUNDARY}--\r\n"
    assert await refused(body.encode()) == "form_malformed"
    content_type = f"multipart/form-data; boundary={BOUNDARY}; {parameters}"
    with suppress(Problem):
        await read(form(part("file", b"a", file_name="a.csv")), content_type=content_type)

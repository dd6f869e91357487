"""Which encoding a text is in, by all of its bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.reading.dialect import detect
from shared.reading.encoding import EncodingEvidence, mark_of, utf16_without_mark
from tests.reading.tables import BLOCK_SIZES, blocks

TEXTS = {
    "German": ("Die größte Mühle für Öl, Käse aus dem Allgäu, Straße, Maß, Bär, Grüße aus Köln", "cp1252"),
    "French": ("Le café très agréable, garçon, à Orléans où l’été brûle; cœur, œuvre, naïve, Noël", "cp1252"),
    "French capitals": ("ÉTÉ, À LA CARTE, ÊTRE, DÉJÀ", "cp1252"),
    "Spanish": ("El niño comió piñas en la montaña; ¿qué pasó? Acción, corazón, ¡olé!", "cp1252"),
    "Portuguese": ("Não há informação sobre a produção de açúcar, você é irmão do João", "cp1252"),
    "Swedish": ("Åsa köpte räksmörgås på Östermalm, älg, sjö, blå", "cp1252"),
    "Danish": ("Rødgrød med fløde på Æbelø, Århus, smørrebrød", "cp1252"),
    "Finnish": ("Hyvää yötä, äiti söi jäätelöä; päivää, työ", "cp1252"),
    "Icelandic": ("Það er gott veður í dag á Íslandi, þú ert fín; öðru", "cp1252"),
    "a euro sign": ("name,price\nfoo,5 €\nbar,7 €", "cp1252"),
    "a degree sign": ("temperature\n5 °C\n6 °C", "cp1252"),
    "one word": ("Müller", "cp1252"),
    "Russian": ("Компания Ромашка, Москва, улица Ленина; цена за штуку, ёлка, объём", "cp1251"),
    "Russian and Latin": ("iPhone чехол 5s, ноутбук Lenovo X1, мышь A4Tech, USB-кабель 2м", "cp1251"),
    "Ukrainian": ("Компанія Ромашка, Київ, вулиця Лесі Українки; їжак, ґанок, є", "cp1251"),
    "Bulgarian": ("Фирма Ромашка, София, улица Витоша; цена за брой, ъгъл, щъркел", "cp1251"),
    "Serbian": ("Предузеће, Београд, улица; цена, џеп, љубав, његов, ћирилица", "cp1251"),
}


def evidence_of(data, sizes=(1 << 16,)):
    evidence = EncodingEvidence()
    for block in blocks(data, sizes):
        evidence.feed(block)
    evidence.finish()
    return evidence


@pytest.mark.parametrize("language", TEXTS)
def test_code_pages_by_their_words(language):
    text, encoding = TEXTS[language]
    data = ("name;text\n" + "\n".join(text.split(", "))).encode(encoding)
    assert evidence_of(data).encoding == encoding
    assert evidence_of(data).reason


@pytest.mark.parametrize("text", [text for text, _ in TEXTS.values()])
def test_the_same_in_utf_8_is_utf_8(text):
    assert evidence_of(text.encode()).encoding == "utf-8"


def test_bytes_that_windows_1252_lacks_are_latin_1():
    assert evidence_of(b"name\n\x81\x8d M\xfcller \x90\n").encoding == "latin-1"


def test_what_comes_behind_megabytes_of_ascii_counts():
    assert evidence_of(b"name,sku\n" * 300_000 + "Größe\n".encode("cp1252")).encoding == "cp1252"


@pytest.mark.parametrize(
    ("tail", "encoding"),
    [
        ("Müller Größe\n".encode() * 20 + b"\xff\n", "utf-8"),
        ("Müller\n".encode() + b"\xff\n", "utf-8"),
        ("Müller Größe\n".encode("cp1252") * 20, "cp1252"),
        (b"name\n\xff\n", "cp1252"),
        ("x€".encode()[:-1], "cp1252"),
    ],
    ids=[
        "one stray byte",
        "as many stray as right",
        "all of it Windows-1252",
        "nothing right",
        "cut at the end",
    ],
)
def test_a_stray_byte_does_not_change_the_encoding_of_the_whole_file(tail, encoding):
    assert evidence_of(b"name,x\n" + tail).encoding == encoding


@given(st.text(max_size=300), BLOCK_SIZES)
def test_any_utf_8_is_utf_8_however_it_is_cut(text, sizes):
    assert evidence_of(text.encode(), sizes).encoding == "utf-8"


@given(st.binary(max_size=300), BLOCK_SIZES)
@settings(max_examples=500)
def test_any_bytes_are_utf_8_or_not_however_they_are_cut(data, sizes):
    assert (evidence_of(data, sizes).encoding == "utf-8") == (evidence_of(data).encoding == "utf-8")


@pytest.mark.parametrize(
    ("data", "encoding", "length"),
    [
        (b"\xef\xbb\xbfname", "utf-8", 3),
        (b"\xff\xfen\0", "utf-16-le", 2),
        (b"\xfe\xff\0n", "utf-16-be", 2),
    ],
)
def test_byte_order_marks(data, encoding, length):
    mark = mark_of(data)
    assert mark is not None
    assert (mark.encoding, mark.length) == (encoding, length)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["a,b\n1,2\n", "имя;цена\nБолт;12,50\nГайка;3,10\n", "größe\n5\n"])
def test_utf_16_without_a_mark_by_its_zeros(text, encoding):
    data = text.encode(encoding)
    assert utf16_without_mark(data) == encoding
    found = detect(data, complete=True)
    assert found.dialect.encoding == encoding
    assert not found.encoding_is_open


@pytest.mark.parametrize(
    "data", [b"", b"a\0b\n", b"a,b,c\n\0,2,3\n", b"\0\0\0\0", b"name\n" * 50 + b"\0\0\0", b"\x01\x02" * 30]
)
def test_other_zeros_are_not_utf_16(data):
    assert utf16_without_mark(data) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_file_with_a_mark_starts_behind_it(encoding):
    data = ("\ufeff" + "Größe;Name\n5;Öl\n6;Käse\n").encode(encoding)
    found = detect(data, complete=True)
    assert found.dialect.encoding == encoding
    assert found.dialect.delimiter == ";"
    assert found.dialect.start_byte == len("\ufeff".encode(encoding))
    assert not found.encoding_is_open


def test_a_character_cut_at_the_end_of_the_head_is_no_reason_to_doubt_utf8():
    head = "name\nx€".encode()[:-1]
    assert detect(head, complete=False).dialect.encoding == "utf-8"
    assert detect(head, complete=True).dialect.encoding == "cp1252"


def test_the_whole_file_corrects_what_its_head_says():
    head = b"name,price\n" + b"Bolt,1\n" * 50
    evidence = evidence_of(head + "Größe,2\n".encode("cp1252"))
    found = detect(head, complete=False)
    assert found.dialect.encoding == "utf-8"
    corrected = found.with_encoding_of(evidence)
    assert corrected.dialect == found.dialect.model_copy(update={"encoding": "cp1252"})
    assert corrected.explanation.reasons[-1] == evidence.reason
    assert len(corrected.explanation.reasons) == len(found.explanation.reasons)

"""What a request says of its file, in form fields or query parameters: names, values, and what a wrong one is told. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from unicodedata import category
from uuid import UUID

from pydantic import BaseModel, ValidationError

from services.upload.names import MAX_NAME
from shared.contracts.options import MAX_COUNT, ImportOptions
from shared.contracts.problems import Unprocessable
from shared.reading.overrides import MAX_HEADER_ROWS, DialectOverrides


@dataclass(frozen=True)
class Field:
    """A field of the request.

    Attributes:
        meaning: For the API's description.
        takes: Its values, as the object of "send …".
        schema: JSON Schema of a value.
    """

    meaning: str
    takes: str
    schema: Mapping[str, Any]


_BOOLEAN = {"type": "boolean", "default": False}
_COUNT = {"type": "integer", "minimum": 0}

FIELDS: Mapping[str, Field] = {
    "dataset": Field(
        "What the file is; only with `corrects` may it be left out.",
        "a dataset, for example books",
        {"type": "string"},
    ),
    "data_source_name": Field(
        "Who sends it: a partner, a supplier.",
        f"a name of at most {MAX_NAME} characters, none of them a control character",
        {"type": "string", "maxLength": MAX_NAME},
    ),
    "dry_run": Field(
        "Only say what would be inserted, updated and rejected; load nothing.", "true or false", _BOOLEAN
    ),
    "atomic": Field(
        "Load nothing before the end of the file, then all of it at once.", "true or false", _BOOLEAN
    ),
    "max_rejected": Field(
        "Fail, with nothing loaded, when more records than this have row errors.",
        "a whole number, 0 or more",
        _COUNT | {"maximum": MAX_COUNT},
    ),
    "max_rejected_share": Field(
        "The same as a share of all records.",
        "a number from 0 to 1, such as 0.05 for 5 percent",
        {"type": "number", "minimum": 0, "maximum": 1},
    ),
    "force": Field(
        "Import the file although the same bytes were imported into the same dataset before.",
        "true or false",
        _BOOLEAN,
    ),
    "corrects": Field(
        "The import whose row errors this file mends: the file is that one's `errors.csv`, corrected.",
        "the id of an import",
        {"type": "string", "format": "uuid"},
    ),
    "date_order": Field(
        "How dates such as 03/04/2024 are read; without it as in the import that the file corrects, if it corrects one;"
        " else the dates in the file's first 4 MiB decide.",
        "day-first or month-first",
        {"type": "string", "enum": ["day-first", "month-first"]},
    ),
    "encoding": Field(
        "The file's encoding, instead of the one found.",
        "utf-8, utf-16, utf-16-le, utf-16-be, windows-1252, windows-1251 or latin-1",
        {"type": "string", "examples": ["utf-8", "windows-1252"]},
    ),
    "delimiter": Field(
        "What stands between the values, instead of what is found.",
        "one to eight characters, or one of: comma, semicolon, tab, pipe, space, colon",
        {"type": "string", "examples": ["semicolon", ";", "tab"]},
    ),
    "quote": Field(
        "What encloses a value that has a delimiter in it, instead of what is found.",
        "one character, or one of: double, single, none",
        {"type": "string", "examples": ["double", "'", "none"]},
    ),
    "escape": Field(
        "What makes a quote inside a quoted value plain, instead of what is found.",
        "one character, or one of: doubled, backslash, none",
        {"type": "string", "examples": ["doubled", "backslash"]},
    ),
    "header_rows": Field(
        "How many records name the columns, instead of what is found; 0: none does.",
        f"a whole number from 0 to {MAX_HEADER_ROWS}",
        _COUNT | {"maximum": MAX_HEADER_ROWS},
    ),
    "skip_rows": Field(
        "How many lines stand before the header, instead of what is found.",
        "a whole number, 0 or more",
        _COUNT,
    ),
}
_VERBATIM = frozenset({"delimiter", "quote", "escape"})  # a blank may be one of these


def properties() -> dict[str, dict[str, Any]]:
    """JSON Schema of each field, with what it means and takes."""
    return {
        name: {**field.schema, "description": f"{field.meaning} Takes {field.takes}."}
        for name, field in FIELDS.items()
    }


def query_parameters(file_name: str) -> list[dict[str, Any]]:
    """The fields as query parameters for OpenAPI, and `file_name`, which means what is said of it."""
    named = {"type": "string", "description": file_name}
    return [
        {"name": name, "in": "query", "schema": schema, "description": schema["description"]}
        for name, schema in {**properties(), "file_name": named}.items()
    ]


@dataclass(frozen=True)
class Asked:
    """What a request asks, as far as it has said so.

    Attributes:
        source: Who sends the file.
        given: Of the dialect.
        force: Whether the file is wanted although it was imported before.
        corrects: The import whose row errors it mends.
    """

    dataset: str | None
    source: str | None
    options: ImportOptions
    given: DialectOverrides
    force: bool = False
    corrects: UUID | None = None


def asked_in(fields: Mapping[str, str]) -> Asked:
    """What the fields of a request ask. One that is empty counts as left out, as HTML forms send it.

    Raises:
        Unprocessable: `field_unknown`, `field_invalid`.
    """
    if unknown := sorted(set(fields) - set(FIELDS)):
        raise Unprocessable(
            "field_unknown",
            f"unknown field {', '.join(unknown)}",
            hint=f"fields are: file, {', '.join(FIELDS)}",
        )
    said = {name: value if name in _VERBATIM else value.strip() for name, value in fields.items()}
    said = {name: value for name, value in said.items() if value}
    given = _model_of(DialectOverrides, said)
    beside = _model_of(_Beside, said)
    return Asked(
        dataset=said.get("dataset"),
        source=_source_in(said),
        options=_model_of(ImportOptions, said),
        given=given,
        force=beside.force,
        corrects=beside.corrects,
    )


def _source_in(said: Mapping[str, str]) -> str | None:
    name = said.get("data_source_name")
    if name and (len(name) > MAX_NAME or any(category(letter) in {"Cc", "Cs"} for letter in name)):
        raise _invalid({"data_source_name": f"data_source_name cannot be {name[:MAX_NAME]!r}"})
    return name


class _Beside(BaseModel):
    """What is asked beside the import's options."""

    force: bool = False
    corrects: UUID | None = None


ModelT = TypeVar("ModelT", ImportOptions, DialectOverrides, _Beside)


def _model_of(model: type[ModelT], said: Mapping[str, str]) -> ModelT:
    try:
        return model.model_validate({name: said[name] for name in model.model_fields if name in said})
    except ValidationError as error:
        raise _invalid(_wrong_in(error, said)) from error


def _wrong_in(error: ValidationError, said: Mapping[str, str]) -> dict[str, str]:
    """What is wrong, by field; a rule about several of them is said of all dialect signs that were sent."""
    faults = error.errors()
    wrong = {
        name: f"{name} cannot be {said[name]!r}" for name in (str(f["loc"][0]) for f in faults if f["loc"])
    }
    for reason in (fault["msg"].removeprefix("Value error, ") for fault in faults if not fault["loc"]):
        sent = [name for name in ("delimiter", "quote", "escape") if name in said]
        wrong |= {sent[0]: reason} | dict.fromkeys(sent[1:], "")
    return wrong


def _invalid(wrong: Mapping[str, str]) -> Unprocessable:
    """The problem that fields have, each with what is wrong with it."""
    return Unprocessable(
        "field_invalid",
        "; ".join(filter(None, wrong.values())),
        hint="; ".join(f"for {name} send {FIELDS[name].takes}" for name in wrong),
        fields=list(wrong),
    )

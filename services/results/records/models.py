"""The models of a dataset's records, made from its declaration: what the API shows, takes and describes. Pure.

Numbers of a fixed scale are JSON strings, as a JSON number loses digits in most programs that read it; integers and years
are JSON numbers. Bodies say in their schema what the declaration demands, and take whatever has the right JSON type: the
processor checks the rest, as it does for files, and answers with the same codes.
"""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    create_model,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from shared.contracts.datasets import Dataset, DatasetField
from shared.contracts.record_keys import has_parts
from shared.platform.paging import TotalCount

_EXACT = r"^-?\d+(\.\d+)?$"
_SHOWN: Mapping[str, Any] = MappingProxyType(
    {
        "string": str,
        "integer": int,
        "number": Annotated[str, Field(pattern=_EXACT)],
        "boolean": bool,
        "date": date,
        "datetime": AwareDatetime,
        "year": int,
    }
)


def _is_number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("Input should be a number, or a string that is one")  # noqa: TRY004 - pydantic's way to say it
    return value


_Number = Annotated[
    Decimal,
    BeforeValidator(_is_number),
    Field(allow_inf_nan=False),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": _EXACT}]}),
]
_TAKEN: Mapping[str, Any] = MappingProxyType(
    {
        "string": StrictStr,
        "integer": StrictInt,
        "number": _Number,
        "boolean": StrictBool,
        "date": date,
        "datetime": AwareDatetime,
        "year": StrictInt,
    }
)


class Record(BaseModel):
    """What every record has beside its dataset's fields."""

    model_config = ConfigDict(extra="forbid")

    import_id: UUID | None = Field(description="The import that wrote it last; null: an edit did")
    row_number: int | None = Field(description="Its record in that import, from 1")
    created_at: datetime
    updated_at: datetime


class RecordBody(BaseModel):
    """What a request says of a record. `model_fields_set` are the fields that it names."""

    model_config = ConfigDict(extra="forbid")


@cache
def record_model(dataset: Dataset) -> type[Record]:
    """A record as the API shows it: `id`, the declared fields, and those of `Record`. No member is ever left out."""
    fields: dict[str, Any] = {"id": (str, Field(description=_id_description(dataset)))}
    for field in dataset.fields:
        kind = _SHOWN[field.type]
        fields[field.name] = (kind if is_always_there(field) else kind | None, _described(field))
    return create_model(
        model_name(dataset), __base__=Record, __doc__=f"One record of `{dataset.name}`", **fields
    )


@cache
def page_model(dataset: Dataset) -> type[BaseModel]:
    """A page of a dataset's records."""
    record: Any = record_model(dataset)
    return create_model(
        f"{model_name(dataset)}Page",
        items=(list[record], ...),
        next_cursor=(
            str | None,
            Field(description="The `cursor` of the next page; null: this is the last one"),
        ),
        total=(TotalCount, None),
    )


@cache
def create_model_of(dataset: Dataset) -> type[RecordBody]:
    """The body that makes or replaces a record: what is left out has its default, or no value."""
    fields: dict[str, Any] = {}
    for field in dataset.edited_fields:
        kind = _TAKEN[field.type]
        if field.constraints.required:
            fields[field.name] = (kind, _demanded(field))
        else:
            fields[field.name] = (kind | None, _demanded(field, default=field.default))
    name = f"{model_name(dataset)}Create"
    return create_model(name, __base__=RecordBody, __doc__=f"A record of `{dataset.name}`, whole", **fields)


@cache
def replace_model_of(dataset: Dataset) -> type[RecordBody]:
    """The body that replaces a record: as one that makes it, or as the API shows it, whose further members are passed over."""
    model = create_model_of(dataset)
    name = f"{model_name(dataset)}Replace"
    return create_model(name, __base__=model, __doc__=model.__doc__, **_passed_over(dataset))


@cache
def lenient(dataset: Dataset, described: type[RecordBody]) -> type[RecordBody]:
    """A body described as `described`, in which nothing is missed: what it lacks, the processor says, as of a file."""

    class Lenient(patch_model_of(dataset)):  # type: ignore[misc]  # a base made at run time
        @classmethod
        def __get_pydantic_json_schema__(
            cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
        ) -> JsonSchemaValue:
            reference = handler(core_schema)
            schema = handler.resolve_ref_schema(reference)
            schema.clear()
            schema.update(described.model_json_schema())
            return reference

    passed_over = _passed_over(dataset) if described is replace_model_of(dataset) else {}
    return create_model(described.__name__, __base__=Lenient, **passed_over)


@cache
def patch_model_of(dataset: Dataset) -> type[RecordBody]:
    """The body that changes a record (JSON merge patch, RFC 7396): what is left out stays, null removes the value."""
    fields: dict[str, Any] = {
        field.name: (_TAKEN[field.type] | None, _demanded(field, default=None))
        for field in dataset.edited_fields
    }
    name = f"{model_name(dataset)}Patch"
    return create_model(
        name, __base__=RecordBody, __doc__=f"Changes of a record of `{dataset.name}`", **fields
    )


def _passed_over(dataset: Dataset) -> dict[str, Any]:
    """What a record is shown with, and no edit sets."""
    edited = {field.name for field in dataset.edited_fields}
    told = Field(None, description="As `GET` shows it; passed over", json_schema_extra={"readOnly": True})
    return {name: (Any, told) for name in record_model(dataset).model_fields if name not in edited}


def is_always_there(field: DatasetField) -> bool:
    """Whether every record has a value in `field`."""
    return field.constraints.required or field.default is not None


def model_name(dataset: Dataset) -> str:
    """`StockCode`, of which page, body and patch are `StockCodePage`, …"""
    return "".join(part.capitalize() for part in dataset.noun.split("-"))


def _id_description(dataset: Dataset) -> str:
    if not has_parts(dataset):
        return "The key as it is compared"
    names = ["import_id"] * (dataset.key_scope == "import") + [*dataset.primary_key]
    parts = " and ".join(f"`{name}`" for name in names)
    return f"The key as it is compared: {parts} with `~` between; a `~` or `!` within has a `!` before it"


def _described(field: DatasetField) -> Any:
    return Field(title=field.title, description=field.description or None, examples=_examples(field))


def _demanded(field: DatasetField, **default: Any) -> Any:
    """A field of a body. Its limits are told, not held: the processor holds them, to what is left after trimming."""
    rules = field.constraints
    limits = {
        "minLength": rules.min_length,
        "maxLength": field.max_stored_length if field.type == "string" else None,
        "pattern": rules.pattern and f"^(?:{rules.pattern})$",
        "enum": rules.enum and list(rules.enum),
        "minimum": rules.minimum if isinstance(rules.minimum, int) else None,
        "maximum": rules.maximum if isinstance(rules.maximum, int) else None,
    }
    told = {name: value for name, value in limits.items() if value is not None}
    return Field(
        **default,
        title=field.title,
        description=field.description or None,
        examples=_examples(field),
        json_schema_extra=lambda schema: _tell(schema, told),
    )


def _tell(schema: dict[str, Any], limits: Mapping[str, Any]) -> None:
    """Put the limits at the alternative that has a value, so that null stays allowed."""
    alternatives = [one for one in schema.get("anyOf", ()) if one.get("type") not in {"null", None}]
    if not alternatives:
        schema.update(limits)
    for alternative in alternatives:
        if alternative["type"] in {"integer", "number"} or "minimum" not in limits:
            alternative.update(limits)


def _examples(field: DatasetField) -> list[Any] | None:
    if not field.example:
        return None
    return [int(field.example) if field.type in {"integer", "year"} else field.example]

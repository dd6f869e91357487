"""What is odd about the columns of a file, by a sample of its records. Pure.

Which columns are keys, texts, prices and quantities, the dataset's declaration says.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from services.notifier.analyses.findings import Delivered, File, Verdict, change_from
from services.notifier.analyses.thresholds import Thresholds
from shared.contracts.datasets import Dataset, DatasetField, datasets

# Of fewer values of a column neither a share nor a typical one says anything.
LEAST_VALUES = 3

Profile = Mapping[str, Any]


def column_verdicts(delivered: Delivered, thresholds: Thresholds) -> list[Verdict]:
    """All that the sample says of the file; nothing, where there is none."""
    file = delivered.file
    dataset = datasets().get(file.dataset or "")
    verdicts: list[Verdict] = []
    for field in _declared(dataset):
        if profile := file.profile.get(field.name):
            if dataset and field.name in dataset.primary_key:
                verdicts += _of_key(file, field, profile, thresholds)
            elif _is_text(field):
                verdicts += _of_text(delivered, field, profile, thresholds)
            if field.measure:
                verdicts += _of_measure(file, field, profile)
            if field.measure == "price":
                verdicts += _of_price(delivered, field, profile, thresholds)
    return verdicts


def _declared(dataset: Dataset | None) -> Sequence[DatasetField]:
    """The dataset's columns; of a file whose dataset nobody knows, what is a price or a quantity in any dataset."""
    return dataset.file_fields if dataset else tuple(_measured().values())


@cache
def _measured() -> Mapping[str, DatasetField]:
    every = (field for dataset in datasets().values() for field in dataset.file_fields)
    return {field.name: field for field in every if field.measure}


def _is_text(field: DatasetField) -> bool:
    return (
        field.type == "string"
        and field.format == "default"
        and not field.identifier
        and field.references is None
    )


def _of_key(file: File, field: DatasetField, profile: Profile, thresholds: Thresholds) -> Iterator[Verdict]:
    """`missing_values` and `sku_format`: whatever it was before, records without a right key are lost."""
    cells = profile["values"] + profile["empty"]
    if cells >= LEAST_VALUES:
        share = profile["empty"] / cells
        if share <= thresholds.missing_share:
            yield Verdict("missing_values", "passed")
        else:
            says = f"{share:.0%} of the key `{field.name}` are empty in {file.name}"
            evidence = _evidence(file, field, share, {"missing_share": thresholds.missing_share})
            yield Verdict("missing_values", "fail", says, evidence)
    if field.type == "string" and profile["values"] >= LEAST_VALUES:
        share = profile["formatted"] / profile["values"]
        if share >= thresholds.format_share:
            yield Verdict("sku_format", "passed")
        else:
            says = f"{share:.0%} of the key `{field.name}` are well-formed in {file.name}"
            evidence = _evidence(file, field, share, {"format_share": thresholds.format_share})
            yield Verdict("sku_format", "warn", says, evidence)


def _of_text(
    delivered: Delivered, field: DatasetField, profile: Profile, thresholds: Thresholds
) -> Iterator[Verdict]:
    """`numbers_in_text`, unless the column has been so for a month: a column shift becomes no habit in a day."""
    file, share, limit = delivered.file, _numbers_share(profile), thresholds.numbers_share
    if share is None:
        return
    both = (delivered.before, delivered.month_before)
    earlier = list({one.id: one for one in both if one is not None}.values())
    shares = [_numbers_share(one.profile.get(field.name, {})) for one in earlier]
    if share <= limit or (earlier and all(one is not None and one > limit for one in shares)):
        yield Verdict("numbers_in_text", "passed")
        return
    says = f"{share:.0%} of the text column `{field.name}` are numbers in {file.name}"
    compared = [
        one.named() | {"value": None if was is None else _short(was)}
        for one, was in zip(earlier, shares, strict=True)
    ]
    evidence = _evidence(file, field, share, {"numbers_share": limit}) | {"compared_with": compared}
    yield Verdict("numbers_in_text", "warn", says, evidence)


def _numbers_share(profile: Profile) -> float | None:
    values = profile.get("values", 0)
    return profile["numbers"] / values if values >= LEAST_VALUES else None


def _of_measure(file: File, field: DatasetField, profile: Profile) -> Iterator[Verdict]:
    """`negative_value`: one is one too many."""
    negatives, numbers = profile["negatives"], profile["numbers"]
    if not negatives:
        yield Verdict("negative_value", "passed")
        return
    says = f"{negatives} of {numbers} sampled numbers of `{field.name}` are below zero in {file.name}"
    evidence = _evidence(file, field, negatives, {"negatives": 0}) | {"numbers": numbers}
    yield Verdict("negative_value", "fail", says, evidence)


def _of_price(
    delivered: Delivered, field: DatasetField, profile: Profile, thresholds: Thresholds
) -> Iterator[Verdict]:
    """`price_too_low`, and `price_deviation` from the last good file."""
    file, before = delivered.file, delivered.before
    typical = _typical(profile)
    if typical is None:
        return
    says = f"a typical `{field.name}` is {typical:.4g} in {file.name}"
    if typical >= thresholds.lowest_price:
        yield Verdict("price_too_low", "passed")
    else:
        evidence = _evidence(file, field, typical, {"lowest_price": thresholds.lowest_price})
        yield Verdict("price_too_low", "fail", says, evidence)
    usual = _typical(before.profile.get(field.name, {})) if before else None
    if before is None or usual is None:
        return
    change = change_from(usual, typical)
    if abs(change) <= thresholds.price_change:
        yield Verdict("price_deviation", "passed")
        return
    evidence = _evidence(file, field, typical, {"price_change": thresholds.price_change})
    evidence |= {"change": _short(change), "compared_with": before.named() | {"value": _short(usual)}}
    says = f"{says}, {change:+.0%} from {usual:.4g} on {before.day}"
    yield Verdict("price_deviation", "fail", says, evidence)


def _typical(profile: Profile) -> float | None:
    return profile["typical"] if profile.get("positives", 0) >= LEAST_VALUES else None


def _evidence(
    file: File, field: DatasetField, value: float, threshold: Mapping[str, float]
) -> dict[str, Any]:
    return file.named() | {"column": field.name, "value": _short(value), "threshold": dict(threshold)}


def _short(number: float) -> float:
    return float(f"{number:.6g}")

"""Which webhooks there are, and who asked for which. Pure."""

from collections.abc import Iterable

from shared.contracts.datasets import datasets
from shared.contracts.problems import Unprocessable

TEST_TYPE = "webhook.test"  # not to be asked for: only ever sent because somebody pressed a button

# What an endpoint may ask for.
EVENT_TYPES = (
    *("import.completed", "import.failed", "import.cancelled"),
    *(
        f"{dataset.noun}.{what}"
        for dataset in datasets().values()
        for what in ("created", "updated", "deleted")
    ),
    *("investigation.opened", "investigation.reopened", "investigation.resolved"),
    *("endpoint.failing", "endpoint.disabled"),
)
EVERYTHING = "*"


def _family(event_type: str) -> str:
    return f"{event_type.partition('.')[0]}.*"


WILDCARDS = (*dict.fromkeys(map(_family, EVENT_TYPES)), EVERYTHING)


def checked_event_types(names: Iterable[str]) -> list[str]:
    """`names` without repetitions, in their order.

    Raises:
        Unprocessable: `event_type_unknown`; the document lists those there are.
    """
    wanted = list(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in EVENT_TYPES and name not in WILDCARDS]:
        raise Unprocessable(
            "event_type_unknown",
            f"no webhook has the type {', '.join(map(repr, unknown))}",
            hint="use one of `known`",
            known=[*EVENT_TYPES, *WILDCARDS],
        )
    return wanted


def patterns_for(event_type: str) -> list[str]:
    """What an endpoint may have asked for to be sent `event_type`."""
    return [event_type, _family(event_type), EVERYTHING]

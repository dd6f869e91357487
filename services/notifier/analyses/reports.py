"""What an analysis logs: that something was found, or is over. Pure.

A supplier and finding are one investigation, which lives on. Events are of the last minute of the analysed day, so that they
stand in the order of the days whenever these are analysed; a run that judges a day anew comes a second after the one
before. Who and when make the event's id, so a run that is repeated logs nothing new.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from services.notifier.analyses.findings import ANALYSE, Finding
from services.notifier.investigations.grouping import Action, Reported, Severity

_SEVERITIES: Mapping[str, Severity] = {"warn": "warning", "fail": "error"}
_SECONDS = 59


@dataclass(frozen=True)
class Moment:
    """When a run judged a day.

    Attributes:
        end: The end of that day, in UTC.
        verdict: 1, or how many different verdicts there were of the supplier's day.
        now: Nothing that is logged occurs later, as the day may not be over.
    """

    day: date
    end: datetime
    verdict: int
    now: datetime

    @property
    def occurred_at(self) -> datetime:
        in_the_last_minute = self.end - timedelta(seconds=_SECONDS + 1 - min(self.verdict, _SECONDS))
        return min(in_the_last_minute, self.now)


def given_fingerprint(supplier: str, finding: str) -> str:
    """What all events of this finding of this supplier name as their fingerprint."""
    return f"analysis:{supplier}:{finding}"


def trigger(supplier: str, finding: Finding, moment: Moment) -> Reported:
    """The finding."""
    reported = _reported(supplier, finding.name, moment, "trigger")
    return replace(
        reported,
        severity=_SEVERITIES[finding.judgement],
        summary=finding.summary,
        extra={"day": moment.day.isoformat(), **finding.document()},
    )


def resolve(supplier: str, finding: str, moment: Moment) -> Reported:
    """What was found before is over."""
    return _reported(supplier, finding, moment, "resolve")


def _reported(supplier: str, finding: str, moment: Moment, action: Action) -> Reported:
    who = hashlib.sha256(supplier.encode()).hexdigest()[
        :32
    ]  # an id has room for half of the longest supplier
    return Reported(
        event_id=f"analysis:{moment.day}:{moment.verdict}:{action}:{finding}:{who}",
        occurred_at=moment.occurred_at,
        supplier=supplier,
        stage=ANALYSE,
        reason=finding,
        severity="info",
        summary=f"the analysis of {moment.day} found nothing any more",
        detail="",
        digest=None,
        origin="analysis",
        action=action,
        given=given_fingerprint(supplier, finding),
        extra={"day": moment.day.isoformat()},
    )

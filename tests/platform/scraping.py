"""What a process answers at `/metrics`, as Prometheus' own parser reads it."""

from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scraped:
    """The series of one answer, by name and labels."""

    series: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float | None:
        """Of the series with these labels and no others; None: there is none."""
        return self.series.get((name, frozenset(labels.items())))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Of the series that have these labels, by the value of one more."""
        return {
            dict(given)[label]: value
            for (of, given), value in self.series.items()
            if of == name and labels.items() <= dict(given).items()
        }


def scraped(text: str) -> Scraped:
    series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in series, f"twice: {key}"
            series[key] = sample.value
    return Scraped(series)


async def scrape(base: str) -> Scraped:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.get(f"{base}/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return scraped(answer.text)

"""What a webhook endpoint reports that does not answer as it should. Pure."""

from urllib.parse import urlsplit

from services.notifier.investigations.grouping import Reported, digest_of
from shared.contracts.events import AnyEvent, EndpointDisabled, EndpointFailing

STAGE = "webhook"


def from_endpoint(event: AnyEvent) -> Reported:
    """The warning, or its end. Endpoints on the same host belong together; of a URL the host alone is told, as paths have secrets."""
    data: EndpointFailing | EndpointDisabled = event.data
    host = urlsplit(data.url).hostname or ""
    disabled = isinstance(data, EndpointDisabled)
    return Reported(
        event_id=f"penstock:{event.id}",
        occurred_at=event.time,
        supplier=None,
        stage=STAGE,
        reason="endpoint_disabled" if disabled else "endpoint_failing",
        severity="error" if disabled else "warning",
        summary=_summary(data, host),
        detail=host,
        digest=digest_of(event.model_dump(mode="json")),
        origin="endpoint",
        extra={
            "endpoint_id": str(data.endpoint_id),
            "failures": data.failures,
            "failing_since": data.failing_since.isoformat(),
            "response_status": data.response_status,
            "error": data.error,
        },
    )


def _summary(data: EndpointFailing | EndpointDisabled, host: str) -> str:
    since = f"{data.failing_since:%Y-%m-%d %H:%M} UTC"
    if isinstance(data, EndpointFailing):
        return f"webhook endpoint at {host} has failed since {since}; it is disabled at {data.disabled_at:%Y-%m-%d %H:%M} UTC"
    if data.reason == "gone":
        return f"webhook endpoint at {host} was disabled: it answered 410 Gone"
    return f"webhook endpoint at {host} was disabled: it has failed since {since}"

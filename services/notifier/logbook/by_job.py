"""What a job reports that failed for good, and that it is mended. Pure."""

from services.notifier.investigations.grouping import Reported
from services.notifier.jobs.attempting import News

STAGE, REASON = "jobs", "job_failed"


def from_job(news: News) -> Reported:
    """The failure, or its end. All dates of a job belong together, whatever was in its way."""
    run = news.claimed
    failed = news.what == "failed"
    failure = f"the job {run.job} failed for {run.logical_date.isoformat()}, after {run.tries} attempts: {news.error}"
    return Reported(
        event_id=f"penstock:job:{run.job}:{run.logical_date.isoformat()}:{run.attempt}",
        occurred_at=news.happened_at,
        supplier=None,
        stage=STAGE,
        reason=REASON,
        severity="error",
        summary=failure if failed else f"the job {run.job} has succeeded for every date that had failed",
        detail=run.job,
        digest=None,
        origin="job",
        action="trigger" if failed else "resolve",
        given=f"job:{run.job}",
        extra={"job": run.job, "date": run.logical_date.isoformat(), "error": news.error},
    )

"""What the API shows of the installation as a whole: numbers, and nothing of any tenant."""

from typing import Literal

from pydantic import BaseModel, Field

Name = Literal["upload", "processor", "results", "notifier"]


class ServiceProcesses(BaseModel):
    """One of the four services."""

    name: Name
    processes: int = Field(
        ge=0,
        description="How many live, as far as others see: one that has lost its connection to PostgreSQL is not counted"
        " until it has another",
    )


class QueueDepth(BaseModel):
    """One queue of the bus. What is null is not known."""

    name: str
    service: Name = Field(description="Whose processes consume it")
    waiting: int | None = Field(description="Messages that are due and wait for a consumer")
    in_hand: int | None = Field(
        description="Messages that a process has taken and not finished, or not begun yet; null on RabbitMQ, which does not"
        " say"
    )
    scheduled: int = Field(
        description="Messages that are not due yet: the next attempts of those that failed"
    )
    oldest_seconds: float | None = Field(
        description="For how long the one that waits longest has been due: how far the consumers are behind; null if none"
        " waits, and while some wait on RabbitMQ, which does not say"
    )
    dead_letters: int | None = Field(description="Messages that failed for the last time, and are kept")
    consumers: int | None = Field(
        description="Processes that consume it from RabbitMQ; null on the embedded transport"
    )


class Outbox(BaseModel):
    """What services have published, and RabbitMQ has not confirmed yet; on the embedded transport nothing."""

    waiting: int = Field(description="Messages")
    oldest_seconds: float | None = Field(description="The age of the oldest one; null if there is none")


class System(BaseModel):
    """How the installation is: its processes, and what waits between them."""

    version: str = Field(description="Of Penstock, as this process of `results` runs it")
    database_version: str = Field(description="Of PostgreSQL")
    transport: Literal["embedded", "rabbitmq"] = Field(description="What carries messages between services")
    services: list[ServiceProcesses]
    queues: list[QueueDepth]
    outbox: Outbox
    detail: str | None = Field(
        description="Why numbers of queues are missing; null if RabbitMQ said all it can"
    )

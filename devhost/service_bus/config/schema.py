"""The parts of config.json, field by field. Defaults and names are the emulator's."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from devhost.service_bus.config.durations import Lifetime, LockTime, Window
from devhost.service_bus.core.settings import (
    HOUR,
    MINUTE,
    Filter,
    QueueSettings,
    SubscriptionSettings,
    TopicSettings,
)
from devhost.service_bus.filters.correlation import correlation_filter
from devhost.service_bus.filters.sql import SqlError, sql_filter

_NAME = r"^[A-Za-z0-9]$|^[A-Za-z0-9][\w\-./]*[A-Za-z0-9]$"
_MEGABYTE = 1024 * 1024

type EntityName = Annotated[str, Field(pattern=_NAME, max_length=260)]
type ForwardTarget = Annotated[str, Field(pattern=rf"^$|{_NAME}")]
type DeliveryCount = Annotated[int, Field(ge=1, le=2000)]
type Megabytes = Annotated[int, Field(ge=1, le=81_920)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SubscriptionProperties(Part):
    DeadLetteringOnMessageExpiration: bool = False
    DefaultMessageTimeToLive: Lifetime = HOUR
    ForwardDeadLetteredMessagesTo: ForwardTarget = ""
    ForwardTo: ForwardTarget = ""
    LockDuration: LockTime = MINUTE
    MaxDeliveryCount: DeliveryCount = 3
    RequiresSession: bool = False

    @model_validator(mode="after")
    def _forwards_without_sessions(self) -> Self:
        if self.RequiresSession and self.ForwardTo:
            raise ValueError("an entity that requires sessions cannot forward: leave ForwardTo out")
        return self

    def settings(self) -> QueueSettings:
        return QueueSettings(
            lock_duration=self.LockDuration,
            max_delivery_count=self.MaxDeliveryCount,
            time_to_live=self.DefaultMessageTimeToLive,
            dead_letter_on_expiration=self.DeadLetteringOnMessageExpiration,
            requires_session=self.RequiresSession,
            forward_to=self.ForwardTo or None,
            forward_dead_letters_to=self.ForwardDeadLetteredMessagesTo or None,
        )


class SizeAndDuplicates(Part):
    """What queues and topics have and subscriptions have not."""

    DuplicateDetectionHistoryTimeWindow: Window = 20_000
    MaxSizeInMegabytes: Megabytes | None = None
    RequiresDuplicateDetection: bool = False

    @property
    def duplicate_window(self) -> int | None:
        return self.DuplicateDetectionHistoryTimeWindow if self.RequiresDuplicateDetection else None

    @property
    def max_size(self) -> int | None:
        return None if self.MaxSizeInMegabytes is None else self.MaxSizeInMegabytes * _MEGABYTE


class QueueProperties(SubscriptionProperties, SizeAndDuplicates):
    def settings(self) -> QueueSettings:
        return replace(
            super().settings(), duplicate_window=self.duplicate_window, max_size=self.max_size
        )


class TopicProperties(SizeAndDuplicates):
    DefaultMessageTimeToLive: Lifetime = HOUR


class CorrelationProperties(Part):
    ContentType: str | None = None
    CorrelationId: str | None = None
    Label: str | None = None
    MessageId: str | None = None
    ReplyTo: str | None = None
    ReplyToSessionId: str | None = None
    SessionId: str | None = None
    To: str | None = None
    Properties: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("a correlation filter names one property at least")
        return self

    def filter(self) -> Filter:
        system: dict[str, str] = self.model_dump(exclude={"Properties"}, exclude_none=True)
        return correlation_filter(system, self.Properties)


class SqlProperties(Part):
    SqlExpression: str

    @model_validator(mode="after")
    def _supported(self) -> Self:
        try:
            self.filter()
        except SqlError as error:
            raise ValueError(f"this SQL filter is not supported here: {error}") from None
        return self

    def filter(self) -> Filter:
        return sql_filter(self.SqlExpression)


def _no_action(value: object) -> object:
    if value:
        raise ValueError("rule actions are not supported here: leave this out")
    return None


class CorrelationRule(Part):
    FilterType: Literal["Correlation"]
    CorrelationFilter: CorrelationProperties
    Action: Annotated[None, BeforeValidator(_no_action)] = None

    def filter(self) -> Filter:
        return self.CorrelationFilter.filter()


class SqlRule(Part):
    FilterType: Literal["Sql"]
    SqlFilter: SqlProperties
    Action: Annotated[None, BeforeValidator(_no_action)] = None

    def filter(self) -> Filter:
        return self.SqlFilter.filter()


class Rule(Part):
    Name: EntityName
    Properties: Annotated[CorrelationRule | SqlRule, Field(discriminator="FilterType")]


class Subscription(Part):
    Name: EntityName
    Properties: SubscriptionProperties = Field(default_factory=SubscriptionProperties)
    Rules: list[Rule] = Field(default_factory=list)

    def settings(self) -> SubscriptionSettings:
        filters = tuple(rule.Properties.filter() for rule in self.Rules)
        return SubscriptionSettings(self.Name, self.Properties.settings(), filters)


class Queue(Part):
    Name: EntityName
    Properties: QueueProperties = Field(default_factory=QueueProperties)


class Topic(Part):
    Name: EntityName
    Properties: TopicProperties = Field(default_factory=TopicProperties)
    Subscriptions: list[Subscription] = Field(default_factory=list)

    def settings(self) -> TopicSettings:
        return TopicSettings(
            time_to_live=self.Properties.DefaultMessageTimeToLive,
            duplicate_window=self.Properties.duplicate_window,
            max_size=self.Properties.max_size,
            subscriptions=tuple(each.settings() for each in self.Subscriptions),
        )


class Namespace(Part):
    Name: EntityName
    Queues: list[Queue] = Field(default_factory=list)
    Topics: list[Topic] = Field(default_factory=list)


class LoggingSettings(Part):
    """Of the emulator; this broker logs to standard error."""

    Type: str


class Root(Part):
    Namespaces: Annotated[list[Namespace], Field(min_length=1, max_length=1)]
    Logging: LoggingSettings | None = None


class ConfigFile(Part):
    UserConfig: Root

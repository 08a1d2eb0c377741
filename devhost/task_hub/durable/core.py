"""What every part of the hub works on."""

from __future__ import annotations

from dataclasses import dataclass, field

from devhost.task_hub.durable.clock import Alarms, Clock
from devhost.task_hub.durable.dispatch import Dispatcher
from devhost.task_hub.durable.journal import Journal
from devhost.task_hub.durable.model import State
from devhost.task_hub.durable.queries import Queries
from devhost.task_hub.durable.rows import Rows
from devhost.task_hub.durable.settings import HubSettings


@dataclass(slots=True)
class Core:
    """The state in memory and the ways to change, keep and give it out.

    The state in memory is always ahead of the database or equal to it: a change is made in
    memory and written to the journal in one step. Nobody outside hears of it before it is
    committed: answers, work items and notices wait in `journal.after`.
    """

    state: State
    journal: Journal
    rows: Rows
    queries: Queries
    dispatcher: Dispatcher
    clock: Clock
    settings: HubSettings
    alarms: Alarms[int] = field(default_factory=Alarms)
    """Wall-clock alarms: durable timers and scheduled starts."""

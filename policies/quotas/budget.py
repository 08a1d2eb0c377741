"""What a tenant may use in a day or a month, as far as this worker may.

Of what all workers together may spend this one is told how far it may come. What it has spent it
tells the others: in each of its lives from nought on, see `contracts.quotas`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from contracts.quotas import NANOS, BudgetName, BudgetUse, SharedBudget, life_key
from endpoints.shared_limits import ALONE
from policies.quotas.periods import PeriodOf, day_of, month_of
from policies.quotas.settings import QuotaSettings


class Budget:
    """Amounts are whole: of tokens, or of NANOS of the currency."""

    def __init__(self, name: BudgetName, whole: int, period_of: PeriodOf, now: datetime) -> None:
        self.name: BudgetName = name
        self.counts_tokens = name.startswith("tokens")
        self.whole = whole
        self._period_of = period_of
        self.period = period_of(now)
        self.spent = 0
        """In this period and life, with what is set aside."""
        self._aside = 0
        self._others_aside = 0
        self._heard = 0
        """Of it, what the others have heard of."""
        self._total = 0
        """Of all workers in this period, as far as is known."""
        self._allowed = whole
        """How far `spent` may come."""
        self.granted = True
        """Whether the others know how far."""
        self._shared = False
        self._grain = 1

    @property
    def left(self) -> int:
        """Of the whole, as far as is known here."""
        return self.whole - self._total - (self.spent - self._heard)

    @property
    def may_be_left(self) -> int:
        """When all that is set aside comes back."""
        return self.left + self._aside + self._others_aside

    @property
    def untold(self) -> bool:
        """Whether the others have not heard of all that was spent here."""
        return self.spent != self._heard

    def roll(self, now: datetime) -> bool:
        """Whether a new period has begun since the last look: with nothing spent."""
        if now < self.period.ends_at:
            return False
        self.period = self._period_of(now)
        self.spent = self._heard = self._total = 0
        self._aside = self._others_aside = 0
        self.granted = not self._shared
        self._allowed = 0 if self._shared else self.whole
        return True

    def set_aside(self, amount: int) -> None:
        self.spent += amount
        self._aside += amount

    def give_back(self, amount: int) -> None:
        """What was set aside."""
        self.spent -= amount
        self._aside -= amount

    def keep(self, amount: int) -> None:
        """What was set aside is used: nobody will hear of it."""
        self._aside -= amount

    def admits(self, amount: int) -> bool:
        return self.spent + amount <= self._allowed

    def asks(self, amount: int) -> None:
        """A call asks for so much, whether it is admitted or not."""
        if self._grain < amount <= self.left:
            self._grain = amount

    # Among workers.

    def hold_back(self) -> None:
        """Use nothing, and begin a new life: what the others have heard of is theirs to count."""
        self._shared = True
        self.granted = False
        self._allowed = 0
        self.spent -= self._heard
        self._heard = 0

    def go_alone(self) -> None:
        """Use a small part of what was left when the others were last heard."""
        self._shared = True
        self.granted = True
        self._allowed = self.spent + max(0, self.left) // ALONE

    def use(self) -> BudgetUse:
        """To be told to the others."""
        grain, self._grain = self._grain, 1
        return BudgetUse(
            whole=self.whole,
            in_use=max(self._allowed, self.spent),
            period=self.period.name,
            spent=self.spent,
            aside=self._aside,
            grain=grain,
        )

    def take(self, shared: SharedBudget, worker: str, life: int, *, renewed: bool) -> None:
        """What the others have heard; `renewed`: and what this worker was granted."""
        if shared.period != self.period.name:
            return
        self._total = shared.spent
        known = shared.lives.get(life_key(worker, life))
        self._heard = 0 if known is None else known.spent
        holding = shared.holdings.get(worker)
        others = (each for name, each in shared.holdings.items() if name != worker)
        self._others_aside = sum(each.aside for each in others)
        if renewed and holding is not None and holding.life == life and holding.grants:
            self._allowed = holding.grants[-1].amount
            self.granted = True


def budgets(settings: QuotaSettings, now: datetime) -> Iterator[Budget]:
    """Those that a tenant has."""
    tokens, money = settings.tokens_per_day, settings.money_per_day
    if tokens is not None:
        yield Budget("tokens_per_day", tokens, day_of, now)
    if money is not None:
        yield Budget("money_per_day", int(money * NANOS), day_of, now)
    tokens, money = settings.tokens_per_month, settings.money_per_month
    if tokens is not None:
        yield Budget("tokens_per_month", tokens, month_of, now)
    if money is not None:
        yield Budget("money_per_month", int(money * NANOS), month_of, now)

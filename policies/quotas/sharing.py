"""What this worker tells the others of one tenant, and what it takes from them.

As `endpoints.sharing` does for models: carried by `wiring.exchange`, beside the calls.
"""

from __future__ import annotations

from contracts.quotas import QuotaReport, SharedTenant
from endpoints.lease import Lease
from endpoints.sharing import USED_SECONDS, Due
from policies.quotas.tenant import TenantQuotas

MOST_IN_A_HURRY = 5
"""Workers, of which each may report four times a second while its calls wait for the others."""


class TenantSharing:
    """Of one tenant. Until the others have been heard nothing is used: calls wait for that."""

    shared = SharedTenant

    def __init__(self, tenant: TenantQuotas, worker: str) -> None:
        self._tenant = tenant
        self._clocks = tenant.clocks
        self._worker = worker
        self.workers = 1
        """That use the tenant's quotas, as far as is known."""
        self._life = 0
        self._lease = Lease([self], tenant.clocks)
        self._touched = 0
        self._used_at = -USED_SECONDS
        self._idle = True
        self._leaves = False
        self._lease.hold_back()

    def greet(self) -> None:
        """An exchange begins; a share is asked for when the tenant first calls."""
        self._lease.hold_back()

    def look(self) -> Due:
        """Note what has happened since the last look; often."""
        tenant = self._tenant
        if self._idle and tenant.touched == self._touched:
            return Due.IDLE
        now = self._clocks.monotonic()
        self._lease.expire(now)
        if tenant.touched != self._touched or tenant.waiting:
            self._touched = tenant.touched
            self._used_at = now
        tenant.roll()
        if now - self._used_at >= USED_SECONDS:
            return self._leave()
        self._idle = self._leaves = False
        self._lease.wait_to_be_heard(now, used=True)
        unheard = not tenant.heard or not all(budget.granted for budget in tenant.budgets)
        if unheard and self._lease.alone:  # a new day, which nobody else has heard of
            self.go_alone()
        hurries = tenant.short and self.workers <= MOST_IN_A_HURRY
        return Due.AT_ONCE if unheard or hurries else Due.SOON

    def _leave(self) -> Due:
        """What nobody uses here is the others', who are told so, and what was spent."""
        if self._lease.held:
            self._lease.hold_back()
            self._leaves = True
        untold = any(budget.untold for budget in self._tenant.budgets)
        self._idle = not (self._leaves or untold)
        return Due.IDLE if self._idle else Due.SOON

    def report(self) -> QuotaReport:
        """To be made when it can be sent."""
        tenant, now = self._tenant, self._clocks.monotonic()
        tenant.roll()
        tenant.short = False
        leaves = now - self._used_at >= USED_SECONDS
        self._leaves = False
        return QuotaReport(
            worker=self._worker,
            number=self._lease.reported(now),
            seen=self._lease.seen,
            at=self._clocks.now(),
            life=self._life,
            scopes={scope.model: scope.report(now, tenant.waiting) for scope in tenant.scopes},
            budgets={budget.name: budget.use() for budget in tenant.budgets},
            leaves=leaves,
        )

    def arrived(self) -> None:
        """The last report has been sent. If it was not, the next one tells the same and more."""

    def apply(self, shared: SharedTenant) -> None:
        """Take what all workers know, and what this one was granted."""
        tenant = self._tenant
        self.workers = max(1, len(shared.workers))
        mine = shared.workers.get(self._worker)
        renewed = mine is not None and self._lease.renewed_by(mine.number)
        if mine is not None and renewed:
            tenant.hear()
            for scope in tenant.scopes:
                holdings = mine.holdings.get(scope.model, {})
                for rate in scope.rates:
                    holding = holdings.get(rate.kind)
                    if holding is not None and holding.grants:
                        rate.share.keep_to(min(holding.grants[-1].amount, rate.whole))
        for budget in tenant.budgets:
            if (known := shared.budgets.get(budget.name)) is not None:
                budget.take(known, self._worker, self._life, renewed=renewed)
        tenant.released()

    # As the lease says.

    def hold_back(self) -> None:
        """Use nothing: the others will be heard in a moment."""
        self._life += 1
        self._tenant.heard = False
        for scope in self._tenant.scopes:
            for rate in scope.rates:
                rate.share.hold_back()
        for budget in self._tenant.budgets:
            budget.hold_back()

    def go_alone(self) -> None:
        """Use a small part, without having heard what the others use."""
        self._tenant.heard = True
        for scope in self._tenant.scopes:
            for rate in scope.rates:
                rate.share.go_alone()
        for budget in self._tenant.budgets:
            budget.go_alone()

    def released(self) -> None:
        """There may be room now for calls that wait."""
        self._tenant.released()

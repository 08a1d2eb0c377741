"""Whether a tenant may make a call now: asked once a call, before any deployment is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal

from contracts.calls import CallScope, ModelCall, UsageRecord
from contracts.errors import Forbidden
from contracts.quotas import NANOS, RateStanding
from contracts.states import Priority
from endpoints.clocks import Clocks
from endpoints.routing.needs import needs
from policies.quotas.expected import Expected
from policies.quotas.settings import UNLIMITED, QuotaSettings
from policies.quotas.sharing import TenantSharing
from policies.quotas.tenant import Asked, TenantQuotas
from policies.quotas.waiting import wait

type Cost = Callable[[UsageRecord], Decimal]
"""Of one request, in the currency of the prices."""


def free(record: UsageRecord) -> Decimal:
    """Where there are no prices."""
    return Decimal(0)


class Quotas:
    """An Admission, and a Meter: of every tenant that tenants.yaml limits."""

    def __init__(
        self,
        settings: Mapping[str, QuotaSettings],
        *,
        others: QuotaSettings = UNLIMITED,
        clocks: Clocks | None = None,
        cost: Cost = free,
    ) -> None:
        """`settings`: by tenant; `others`: of those that are not named, rates and budgets apart."""
        self._settings = settings
        self._others = others
        self._cost = cost
        made = (TenantQuotas(name, each, clocks or Clocks()) for name, each in settings.items())
        self._tenants = {tenant.name: tenant for tenant in made if tenant.limited}
        self._expected: dict[str, Expected] = {}

    def share(self, worker: str) -> dict[str, TenantSharing]:
        """Begin to keep to the limits together with other workers, by tenant."""
        return {name: TenantSharing(each, worker) for name, each in self._tenants.items()}

    def of(self, tenant: str) -> QuotaSettings:
        """What a tenant may use."""
        return self._settings.get(tenant, self._others)

    async def reserve(self, call: ModelCall, scope: CallScope) -> Asked | None:
        """See Admission. Raises Forbidden, BudgetSpent and QuotaReached."""
        model = call.model.partition("@")[0]
        if scope.flow is None:  # a flow is allowed with the models that it calls
            self._check_model(scope.tenant, model)
        tenant = self._tenants.get(scope.tenant)
        if tenant is None:
            return None
        tokens = needs(call).tokens if tenant.counts_tokens else 0
        asked = tenant.asked(model, tokens, self._expected.get(model, _UNKNOWN))
        batch = scope.priority is Priority.BATCH
        behind = batch and (tenant.line.locked() or tenant.stands_back())
        if behind or tenant.obstacle(asked) is not None:
            await wait(tenant, asked, scope, model)
        tenant.take(asked, batch=batch)
        return asked

    def meter(self, record: UsageRecord) -> None:
        """A request has ended: what it used is its tenant's, mirrored calls apart."""
        tenant = self._tenants.get(record.tenant)
        if tenant is None or not tenant.budgets or record.mirrored:
            return
        usage, model = record.attempt.usage, record.attempt.model
        tokens = usage.input_tokens + usage.output_tokens
        nanos = 0
        if tenant.counts_money:
            nanos = int((self._cost(record) * NANOS).to_integral_value(ROUND_CEILING))
        if tokens or nanos:
            self._expected.setdefault(model, Expected()).learn(tokens, nanos)
            tenant.used(tokens, nanos)

    def standing(self, tenant: str, model: str) -> list[RateStanding]:
        """How far a tenant is from its rates for a model."""
        limited = self._tenants.get(tenant)
        return [] if limited is None else limited.standing(model.partition("@")[0])

    def _check_model(self, tenant: str, model: str) -> None:
        """Doors have checked it; what was accepted since may be allowed no more."""
        allowed = self.of(tenant).models
        if allowed is not None and model not in allowed:
            known = ", ".join(sorted(allowed)) or "none"
            raise Forbidden(f"Tenant {tenant} may not use the model {model!r}; it may use {known}.")


_UNKNOWN = Expected()

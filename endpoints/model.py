"""One model: its deployments, and a call's way through them to an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence

from contracts.admission import Reservation
from contracts.calls import CallScope, ModelAnswer, ModelCall, Task
from contracts.errors import (
    CallFailed,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    PersonalDataRefused,
    SluiceError,
)
from contracts.states import Execution, Priority
from endpoints.context import Context
from endpoints.deployment import Deployment, Result
from endpoints.endings import Tally
from endpoints.hedging import Ask, hedged
from endpoints.mirroring import Mirror
from endpoints.routing.budget import RetryBudget
from endpoints.routing.needs import NOTHING, Needs, needs
from endpoints.routing.pool import Pool, Taken, Visit
from endpoints.routing.selection import order, pinned
from endpoints.routing.waiting import Turn
from endpoints.settings import ModelSettings
from endpoints.streaming import Streaming

_COSTLY = frozenset({"failed", "unknown"})
"""Outcomes after which another try is work done twice. One that never connected cost nobody."""

FEWEST_FOR_P95 = 20
"""Answers, before which nobody knows what is slow."""


class Model:
    def __init__(
        self,
        name: str,
        settings: ModelSettings,
        deployments: Sequence[Deployment],
        context: Context,
        mirror: Mirror | None,
    ) -> None:
        self.name = name
        self.deployments = deployments
        self._clocks = context.clocks
        budget = RetryBudget(settings.retry_share)
        self.pool = Pool(deployments, self._clocks.monotonic, budget)
        self._hedge_after = settings.hedge_after_seconds
        self._mirror = mirror
        self._admission = context.admission
        self._region = context.region
        self._able = {task: [each for each in deployments if task in each.tasks] for task in Task}
        self._choosy = any(each.counts_tokens for each in deployments)

    async def invoke(self, call: ModelCall, pin: str | None, scope: CallScope) -> ModelAnswer:
        """See `Endpoints.invoke`. `pin`: a version, or the name of a deployment."""
        visit = self._visit(call, pin, scope)
        asked = self._answered(visit, scope, lambda taken: self._ask(taken, visit, call, scope))
        if self._admission is None:
            result = await asked
        else:
            result, reservation = await self._admitted(asked, call, scope)
            if reservation is not None:
                reservation.settle(result.attempt.usage)
        answer = ModelAnswer(result.body, result.attempt)
        if self._mirror is not None:
            self._mirror.offer(call, scope, answer)
        return answer

    async def stream(self, call: ModelCall, pin: str | None, scope: CallScope) -> Streaming:
        """See `Endpoints.stream`. Neither hedged nor mirrored."""
        visit = self._visit(call, pin, scope)
        opened = self._answered(
            visit, scope, lambda taken: taken.deployment.open(call, scope, taken.slot)
        )
        result, reservation = await self._admitted(opened, call, scope)
        assert result.stream is not None
        if reservation is not None:
            attempt, settle = result.attempt, reservation.settle
            result.stream.at_end(lambda: settle(attempt.usage))
        return result.stream

    async def _admitted(
        self, work: Coroutine[None, None, Result], call: ModelCall, scope: CallScope
    ) -> tuple[Result, Reservation | None]:
        """What the work comes to, once the tenant may have it done, and what was set aside."""
        reservation: Reservation | None = None
        try:
            if self._admission is not None:
                reservation = await self._admission.reserve(call, scope)
            return await work, reservation
        except SluiceError as error:
            if reservation is not None and not isinstance(error, OutcomeUnknown):
                reservation.release()
            raise
        finally:
            work.close()

    async def _answered(
        self,
        visit: Visit[Deployment],
        scope: CallScope,
        ask: Callable[[Taken[Deployment]], Awaitable[Result | list[Result]]],
    ) -> Result:
        """The first answer on the visit's way. Raises what sums up the others."""
        tally = Tally(self.name)
        budget = self.pool.budget
        budget.earn()
        # The first needs no coroutine, and is all that most calls need.
        while (taken := self.pool.take_now(visit) or await self._take(visit, scope)) is not None:
            try:
                said = await ask(taken)
            except (PayloadTooLarge, PersonalDataRefused) as error:
                tally.passed_by(error)
                continue
            results = said if isinstance(said, list) else [said]
            if results[0].verdict.outcome == "answered":
                return results[0]
            for result in results:
                tally.add(result, scope, self._clocks.now())
            costly = visit.wanted and results[-1].verdict.outcome in _COSTLY
            if costly and not budget.spend(self._now()):
                break
            visit.patient_until = self._patient_until(scope)  # for each deployment anew
        if visit.retry_at is not None:
            tally.cooling(self._clocks.dated(visit.retry_at))
        if scope.deadline is not None and scope.deadline <= self._clocks.now():
            raise DeadlineExceeded("The deadline passed before the model answered.")
        raise tally.error()

    async def _take(self, visit: Visit[Deployment], scope: CallScope) -> Taken[Deployment] | None:
        scope.waiting = True
        taken = await self.pool.take(visit)
        scope.waiting = False
        return taken

    async def aclose(self) -> None:
        if self._mirror is not None:
            await self._mirror.aclose()

    # Who may be asked.

    def _visit(self, call: ModelCall, pin: str | None, scope: CallScope) -> Visit[Deployment]:
        able: Sequence[Deployment] = self._able[call.task]
        if not able:
            tasks = sorted({task for each in self.deployments for task in each.tasks})
            raise InvalidRequest(
                f"Model {self.name} does not do {call.task}; it does {', '.join(tasks)}."
            )
        needed = needs(call) if self._choosy else NOTHING
        if pin is not None:
            wanted = self._pinned(able, pin)
        else:
            if self._choosy:
                able = self._capable(able, needed)
            wanted = order(able, region=self._region, sticky_key=scope.sticky_key)
            if not wanted:
                raise CallFailed(
                    f"Every deployment of model {self.name} that could be asked is drained."
                )
        return Visit(
            wanted=wanted,
            tokens=needed.tokens,
            batch=scope.priority is Priority.BATCH,
            turn=Turn(scope.tenant, scope.batch_id or scope.job_id, scope.weight),
            patient_until=self._patient_until(scope),
        )

    def _pinned(self, able: Sequence[Deployment], pin: str) -> list[Deployment]:
        chosen = pinned(able, pin)
        if not chosen:
            known = sorted({each.version for each in self.deployments if each.version})
            names = ", ".join([*known, *(each.name for each in self.deployments)])
            raise NotFound(f"Model {self.name} has no version or deployment {pin!r}: {names}.")
        drained = [each for each in chosen if each.weight <= 0]
        return order(chosen, region=self._region) + drained

    def _capable(self, able: Sequence[Deployment], needed: Needs) -> Sequence[Deployment]:
        capable = [each for each in able if each.meets(needed)]
        if not capable:
            raise InvalidRequest(
                f"No deployment of model {self.name} takes this request: about {needed.tokens}"
                " tokens with the output it allows"
                + (", a response_format" if needed.json_mode else "")
                + "".join(f", {modality} content" for modality in sorted(needed.modalities))
                + "."
            )
        return capable

    def _patient_until(self, scope: CallScope) -> float:
        if not scope.patience:
            return 0.0
        patience = scope.patience
        if scope.deadline is not None:
            patience = min(patience, (scope.deadline - self._clocks.now()).total_seconds())
        return self._now() + patience

    # Asking.

    def _ask(
        self, taken: Taken[Deployment], visit: Visit[Deployment], call: ModelCall, scope: CallScope
    ) -> Awaitable[Result | list[Result]]:
        """What one deployment says, or two when the call is hedged; an answer stands first."""
        first = taken.deployment.ask(call, scope, taken.slot)
        after = self._hedge_delay(visit, taken.deployment, scope)
        if after is None:
            return first

        def second() -> Ask | None:
            budget = self.pool.budget
            if not budget.spend(self._now()):
                return None
            other = self.pool.take_now(visit)
            if other is None:
                budget.give_back()
                return None
            return other.deployment.ask(call, scope, other.slot)

        return hedged(first, after, second)

    def _hedge_delay(
        self, visit: Visit[Deployment], deployment: Deployment, scope: CallScope
    ) -> float | None:
        if self._hedge_after is None or not visit.wanted:
            return None
        if scope.execution is Execution.AT_MOST_ONCE:
            return None
        if self._hedge_after != "p95":
            return self._hedge_after
        statistics = deployment.standing.statistics
        if statistics.outcomes["answered"] < FEWEST_FOR_P95:
            return None
        return statistics.percentiles(95)[0]

    def _now(self) -> float:
        return self._clocks.monotonic()

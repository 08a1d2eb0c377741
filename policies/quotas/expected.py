"""What a call is likely to use, told from the calls before it: a body does not say it all."""

from __future__ import annotations

LATEST = 0.1
"""The weight of the latest call in what is expected."""


class Expected:
    """Of one model's calls."""

    __slots__ = ("nanos", "nanos_a_token", "tokens")

    def __init__(self) -> None:
        self.tokens = 0.0
        self.nanos = 0.0
        """Of a call that tells no tokens."""
        self.nanos_a_token = 0.0

    def learn(self, tokens: int, nanos: int) -> None:
        """A call has used so much. What it costs is believed at once when it costs more."""
        if tokens:
            self.tokens = _nearer(self.tokens, tokens)
            a_token = nanos / tokens
            self.nanos_a_token = max(_nearer(self.nanos_a_token, a_token), a_token)
        else:
            self.nanos = max(_nearer(self.nanos, nanos), nanos)

    def tokens_of(self, estimate: int) -> int:
        """Of a call whose body tells of so many."""
        return max(estimate, int(self.tokens))

    def nanos_of(self, tokens: int) -> int:
        """What a call of so many tokens costs."""
        return int(max(self.nanos, self.nanos_a_token * tokens))


def _nearer(before: float, latest: float) -> float:
    return latest if before == 0 else before + (latest - before) * LATEST

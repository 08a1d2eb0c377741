"""Which path is whose."""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random

from devhost.inference.simulated.answers import PATHS, Route, Unreadable, read
from devhost.inference.simulated.control import PREFIX, control
from devhost.inference.simulated.deployment import Course, Deployment
from devhost.inference.simulated.reply import Reply, error

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class App:
    """The deployments of one server. Needs a running loop."""

    def __init__(self, names: Iterable[str], seed: int | None) -> None:
        """With a seed, what is drawn for the n-th request of a deployment is always the same.

        Raises ValueError for a name that cannot be in a path.
        """
        self.deployments: dict[str, Deployment] = {}
        self._models: dict[bytes, tuple[Deployment, Route]] = {}
        for name in names:
            if not NAME.fullmatch(name):
                raise ValueError(f"not a name for a deployment: {name!r}")
            random = Random(None if seed is None else f"{seed} {name}")  # noqa: S311
            self.deployments[name] = deployment = Deployment(name, random)
            for path, route in PATHS.items():
                self._models[f"/{name}/{path}".encode()] = deployment, route

    def take(self, method: bytes, target: bytes, body: bytes) -> Course | Reply:
        """What becomes of one request, or what is answered at once."""
        path = target.partition(b"?")[0]
        model = self._models.get(path)
        if model is None:
            return self._take_other(method.decode(), path.decode("latin-1"), body)
        if method != b"POST":
            return error(405, "POST only.")
        deployment, route = model
        try:
            asked = read(route, body)
        except Unreadable as problem:
            return error(400, str(problem))
        return deployment.arrive(asked)

    def _take_other(self, method: str, path: str, body: bytes) -> Reply:
        if path == PREFIX or path.startswith(f"{PREFIX}/"):
            return control(method, path, body, self.deployments)
        name, _, rest = path.removeprefix("/").partition("/")
        if rest != "health" or name not in self.deployments:
            return error(404, "No such path.")
        if method != "GET":
            return error(405, "GET only.")
        return self.deployments[name].health()

"""How calls are answered: nothing is told that is not durable, nothing is lost that was told.

A method that fails in a way nobody thought of may have changed half of something. Then the hub
gives up, without another commit: started again, it is as it was before that call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from grpc import aio

from devhost.task_hub.durable.committer import Committer
from devhost.task_hub.durable.dispatch import Dispatcher
from devhost.task_hub.durable.errors import CannotWrite, HubError

type Context = aio.ServicerContext[Any, Any]
type Unary = Callable[[Any, Context], Awaitable[Any]]


class Calls:
    """Makes a gRPC call of a method of the hub, by the kind of thing that it does."""

    def __init__(self, dispatcher: Dispatcher, committer: Committer) -> None:
        self._dispatcher = dispatcher
        self._committer = committer

    def read(self, method: Callable[[Any], Any]) -> Unary:
        """Answer from the database, once it holds all that was done before.

        While it cannot be written, from the last commit: so what was accepted can be looked at.
        """

        async def answer(request: Any, context: Context) -> Any:
            await self._committer.settled_or_stuck()
            try:
                return method(request)
            except HubError as error:
                await context.abort(error.code, str(error))

        return answer

    def change(self, method: Callable[[Any], Any], *, settled_first: bool = False) -> Unary:
        """A client's change, refused while the database cannot be written.

        `settled_first` for methods that look into the database: it must hold everything.
        """

        async def answer(request: Any, context: Context) -> Any:
            try:
                self.check_writable()
                if settled_first:
                    await self._committer.settled()
                response = self._do(method, request)
            except CannotWrite as error:
                await context.abort(error.code, str(error))
            except HubError as error:
                # It was refused because of what others did, which must be durable to be told.
                await self._committer.settled()
                await context.abort(error.code, str(error))
            await self._committer.settled()
            return response

        return answer

    def report(self, method: Callable[[Any], None], response: Any) -> Unary:
        """A worker's report. Not refused for want of disk: it would not be sent a second time."""

        async def answer(request: Any, context: Context) -> Any:
            try:
                self._do(method, request)
            except HubError as error:
                await context.abort(error.code, str(error))
            self._dispatcher.pump()
            await self._committer.settled()
            return response

        return answer

    def _do[Request, Response](
        self, method: Callable[[Request], Response], request: Request
    ) -> Response:
        try:
            return method(request)
        except HubError:
            raise
        except Exception as error:
            self._committer.give_up(error)
            raise

    def check_writable(self) -> None:
        """Raises CannotWrite while commits fail."""
        if self._committer.trouble is not None:
            raise CannotWrite(f"The task hub cannot write: {self._committer.trouble}")

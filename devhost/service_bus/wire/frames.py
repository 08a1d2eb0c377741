"""Looks at each frame that a client sends, before proton does. Two reasons:

- Service Bus batches are told from single messages by the message format of the transfer
  (0x80013700), which proton's Python API does not show.
- Proton 0.40 takes the whole process with it when a SASL frame names no mechanism, or when a
  value in it claims more bytes than there are. So values are checked to be well formed here,
  and of SASL nothing goes on but the naming of a mechanism.
"""

from __future__ import annotations

import struct
from collections import deque

from devhost.service_bus.wire.decoding import decode
from devhost.service_bus.wire.values import CodecError, Described, Symbol, Value

MAX_FRAME_BYTES = 64 * 1024
"""As in the service; clients are told so when they connect."""
BATCH_FORMAT = 0x8001_3700
_HEAD = struct.Struct(">IBBH")  # size, offset of the body in words, type, channel
_AMQP, _SASL = 0, 1
_SASL_INIT = 0x41
_ATTACH, _TRANSFER = 0x12, 0x14
_NAME, _HANDLE_OF_ATTACH, _IS_RECEIVER = 0, 1, 2
_HANDLE, _FORMAT, _MORE = 0, 3, 5


class _Link:
    def __init__(self) -> None:
        self.formats: deque[int] = deque()
        self.inside_delivery = False


class Frames:
    """The frames of one connection, as they come in."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._by_handle: dict[tuple[int, int], _Link] = {}
        self._by_name: dict[str, _Link] = {}

    def feed(self, data: bytes) -> bytes:
        """Takes bytes as they arrive; returns those of whole frames, to be passed on.

        Raises CodecError at the first frame that is not well formed.
        """
        self._buffer += data
        end = 0
        while (size := self._next_size(end)) and end + size <= len(self._buffer):
            if not self._buffer.startswith(b"AMQP", end):
                self._look(bytes(self._buffer[end : end + size]))
            end += size
        whole = bytes(self._buffer[:end])
        del self._buffer[:end]
        return whole

    def next_format(self, link_name: str) -> int:
        """The message format of the link's next delivery; to be asked once for each."""
        link = self._by_name.get(link_name)
        return link.formats.popleft() if link is not None and link.formats else 0

    def _next_size(self, at: int) -> int:
        """The size of the frame or protocol header at this place; 0 when too little is there."""
        if len(self._buffer) - at < _HEAD.size:
            return 0
        if self._buffer.startswith(b"AMQP", at):
            return _HEAD.size  # a protocol header is as long as the head of a frame
        size = int.from_bytes(self._buffer[at : at + 4])
        if not _HEAD.size <= size <= MAX_FRAME_BYTES:
            raise CodecError(f"A frame claims to have {size} bytes.")
        return size

    def _look(self, frame: bytes) -> None:
        _, offset, kind, channel = _HEAD.unpack_from(frame)
        body = 4 * offset
        if not _HEAD.size <= body <= len(frame) or kind not in (_AMQP, _SASL):
            raise CodecError("A frame has a wrong head.")
        if body == len(frame):  # empty: it only keeps the connection alive
            return
        performative, end = decode(frame, body)
        if not isinstance(performative, Described):
            raise CodecError("A frame does not begin with a performative.")
        code, fields = performative.descriptor, performative.value
        if not isinstance(fields, list | tuple) or (code != _TRANSFER and end != len(frame)):
            raise CodecError("A performative is no list, or something follows it.")
        if kind == _SASL:
            if code != _SASL_INIT or not fields or not isinstance(fields[0], Symbol):
                raise CodecError("A SASL frame does not name a mechanism.")
        elif code == _TRANSFER:
            self._note_transfer(channel, [*fields, *[None] * (_MORE + 1)])
        elif code == _ATTACH:
            self._note_attach(channel, [*fields, *[None] * (_IS_RECEIVER + 1)])

    def _note_attach(self, channel: int, fields: list[Value]) -> None:
        name, handle = fields[_NAME], fields[_HANDLE_OF_ATTACH]
        # Names are unique in one direction only, and it is deliveries to the broker that count.
        if isinstance(name, str) and isinstance(handle, int) and fields[_IS_RECEIVER] is False:
            self._by_handle[channel, handle] = self._by_name[name] = _Link()

    def _note_transfer(self, channel: int, fields: list[Value]) -> None:
        handle, message_format = fields[_HANDLE], fields[_FORMAT]
        link = self._by_handle.get((channel, handle)) if isinstance(handle, int) else None
        if link is None:
            return
        if not link.inside_delivery:
            link.formats.append(message_format if isinstance(message_format, int) else 0)
        link.inside_delivery = fields[_MORE] is True

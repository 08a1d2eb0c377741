"""What a caller is told when the hub refuses.

HubError
├── InstanceNotFound   NOT_FOUND
├── InstanceExists     ALREADY_EXISTS
├── WrongState         FAILED_PRECONDITION
├── InvalidRequest     INVALID_ARGUMENT
└── CannotWrite        UNAVAILABLE  the database cannot be written: disk full, I/O error
"""

from __future__ import annotations

from typing import ClassVar

import grpc


class HubError(Exception):
    """The call was refused and changed nothing."""

    code: ClassVar[grpc.StatusCode]


class InstanceNotFound(HubError):
    code = grpc.StatusCode.NOT_FOUND

    def __init__(self, instance_id: str) -> None:
        super().__init__(f"Orchestration instance '{instance_id}' not found")


class InstanceExists(HubError):
    code = grpc.StatusCode.ALREADY_EXISTS

    def __init__(self, instance_id: str) -> None:
        super().__init__(f"Orchestration instance '{instance_id}' already exists")


class WrongState(HubError):
    code = grpc.StatusCode.FAILED_PRECONDITION


class InvalidRequest(HubError):
    code = grpc.StatusCode.INVALID_ARGUMENT


class CannotWrite(HubError):
    code = grpc.StatusCode.UNAVAILABLE


class StateDirectoryError(Exception):
    """The state directory cannot be used: another hub holds it, or another version wrote it."""

"""The typed messages that pass between rooms, and the errors.

Payloads that cross a door or a queue are pydantic models; what stays inside
one process is a plain dataclass. Nothing here does I/O.
"""

"""Ends the stack's processes should the stack itself be killed.

Started with a pipe on standard input, on which the stack writes `+PID` for each group it started
and `-PID` for each that ended. The system closes the pipe when the stack dies, however it dies;
what is still on the list then is ended. Works wherever there are pipes, unlike Linux's
PR_SET_PDEATHSIG, and reaches the children's own children.
"""

from __future__ import annotations

import sys
import time

from devhost.stack.processes import ask_to_end, kill_group

GRACE_SECONDS = 3.0


def main() -> None:
    alive: list[int] = []
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            alive.append(pid)
        elif pid in alive:
            alive.remove(pid)
    for pid in alive:
        ask_to_end(pid)
    if alive:
        time.sleep(GRACE_SECONDS)
    for pid in alive:
        kill_group(pid)


if __name__ == "__main__":
    main()

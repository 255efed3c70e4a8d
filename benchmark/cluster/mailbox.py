"""Events of runs on other hosts, on their way to the command that shows the progress of the grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from benchmark.protocols import Observer
from benchmark.records import Row


class Event(NamedTuple):
    """A run enters a stage (begin), leaves it (end), or waits for its host (wait)."""

    kind: str
    node_id: str
    where: str
    """A device or a compile worker of the node."""
    run_id: str
    text: str
    """The stage; of `wait`, which command has the host."""


class Mailbox:
    """Keeps events until the command reads them. It lives as an actor on the command's own host."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def put(self, event: Event) -> None:
        """Add one."""
        self._events.append(event)

    def take(self) -> list[Event]:
        """All since the last time."""
        events, self._events = self._events, []
        return events


class Sender:
    """The observer of a run on a node: sends what a viewer wants to see at once."""

    def __init__(self, mailbox: Any, node_id: str) -> None:
        """`mailbox` is the handle of the actor; null for runs that last milliseconds."""
        self._mailbox, self._node_id = mailbox, node_id

    @contextmanager
    def working(self, where: str, run_id: str, stage: str) -> Iterator[None]:
        """Send that a run is in a stage while the block lasts."""
        self._send(Event("begin", self._node_id, where, run_id, stage))
        try:
            yield
        finally:
            self._send(Event("end", self._node_id, where, run_id, stage))

    def waiting(self, where: str, run_id: str, holder: str) -> None:
        """Send which command has the host."""
        self._send(Event("wait", self._node_id, where, run_id, holder))

    def finished(self, row: Row) -> None:
        """Nothing: the row itself is the result of the task."""

    def skipped(self, run_id: str) -> None:
        """Nothing: the command knows it by the result."""

    def unneeded(self, run_id: str) -> None:
        """Nothing: likewise."""

    def _send(self, event: Event) -> None:
        if self._mailbox is not None:
            self._mailbox.put.remote(event)


class Receiver:
    """Repeats events in front of the observer of the whole grid."""

    def __init__(self, observer: Observer, name: Callable[[str], str]) -> None:
        """`name` gives the name of a node by its id."""
        self._observer, self._name = observer, name
        self._stages: dict[tuple[str, str], ExitStack] = {}
        self.begun: set[str] = set()
        """Runs that have begun on some node."""

    def repeat(self, events: list[Event]) -> None:
        """Show them in their order."""
        for event in events:
            where = f"{self._name(event.node_id)} {event.where}"
            self.begun.add(event.run_id)
            if event.kind == "wait":
                self._observer.waiting(where, event.run_id, event.text)
                continue
            self._end((where, event.run_id))
            if event.kind == "begin":
                stack = ExitStack()
                stack.enter_context(self._observer.working(where, event.run_id, event.text))
                self._stages[where, event.run_id] = stack

    def lost(self, run_id: str) -> None:
        """The run sends no more events."""
        self.begun.discard(run_id)
        for key in [key for key in self._stages if key[1] == run_id]:
            self._end(key)

    def _end(self, key: tuple[str, str]) -> None:
        if stack := self._stages.pop(key, None):
            stack.close()

"""A console of rich on which texts of rows and files are harmless; see also `say`."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from benchmark.report.sanitize import clean


class Screen(Console):
    """A console of rich that shows its own colours and cursor, and no code from within a text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, with clean texts."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(clean(segment.text), segment.style)

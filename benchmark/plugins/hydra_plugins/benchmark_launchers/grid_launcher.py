"""What a launcher must offer to receive a grid whole instead of a list of jobs."""

from abc import abstractmethod
from collections.abc import Sequence

from hydra.plugins.launcher import Launcher


class GridLauncher(Launcher):
    """A launcher that sees the whole grid, excluded cells too, before the first cell runs."""

    @abstractmethod
    def launch_grid(self, arguments: Sequence[str]) -> int:
        """Run the grid of these overrides; return its exit code."""

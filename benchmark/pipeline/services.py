"""What the parts of a pipeline share."""

from __future__ import annotations

from typing import NamedTuple

from benchmark.cache.compile_cache import CompileCache
from benchmark.execution.interpreters import Interpreters
from benchmark.pipeline.budget import BudgetTracker
from benchmark.protocols import Observer
from benchmark.store.results import ResultsStore


class Services(NamedTuple):
    """Places and processes of one command."""

    store: ResultsStore
    cache: CompileCache
    interpreters: Interpreters
    """Starts the child processes that build, compile and measure."""
    observer: Observer
    budget: BudgetTracker

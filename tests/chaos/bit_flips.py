"""A drill: single bits of every kind of file in a store and a cache are flipped, one after the other.

By hand: python -m tests.chaos.bit_flips --times 2000 --seed 0

Nothing may be read as another value than the one that was written. What is damaged must be reported, unless
the flipped bit changes nothing, as one in the white space of a JSON file.
"""

from __future__ import annotations

import logging
import random
import sys
import tempfile
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

from benchmark.analysis import nights
from benchmark.cache.compile_cache import CompileCache
from benchmark.errors import CacheError
from benchmark.records import Row
from benchmark.stats.regression_detector import Finding
from benchmark.store.results import ResultsStore
from tests.chaos.drills import arguments, report

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
LONG = {"latency_ns": [*range(1000, 1200)], "latency_p50_ms": 1.1, "model": "vit", "config": "{}" * 100}
FINDING = {
    "night_ratio": 1.1,
    "p_nights": 0.01,
    "rounds": 9,
    "ratio": 1.2,
    "low": 1.1,
    "high": 1.3,
    "p": 0.01,
}


def row(number):
    times = {"started_at": START, "finished_at": START + timedelta(minutes=number), "status": "ok"}
    identity = {"run_id": f"r{number}", "campaign": "c", "cell_id": "x", "environment_id": "e"}
    return Row(values={**identity, **times, **LONG})


class Shelf:
    """A store and a cache with each kind of file, and what is read from them."""

    def __init__(self, folder):
        self.store, self.cache = folder / "outputs" / "results", folder / "cache"
        store = ResultsStore(self.store)
        store.prepare()
        store.append(*map(row, range(4)))
        store.append(row(4))
        store.append(row(5))
        nights.keep(store, "night", [Finding(series="s", common=False, confirmed=True, **FINDING)])
        cache = CompileCache(self.cache)
        cache.prepare()
        for kind in ("artifact", "weights"):
            self._entry = cache.get_or_build(kind, {"kind": kind}, _build)
        self.files = [file for file in folder.rglob("*") if file.is_file() and file.stat().st_size]
        self.whole = self.read()

    def read(self):
        """Everything that a command would use, by name."""
        store = ResultsStore(self.store)
        found = {one["run_id"]: one for one in store.table().to_pylist()}
        found["findings"] = nights.kept(store, "night")
        cache = CompileCache(self.cache)
        damaged = dict(cache.verify())
        for entry in cache.entries():
            if entry.manifest.key not in damaged:
                found[entry.manifest.key] = entry.manifest
        return found


def _build(folder):
    (folder / "model.bin").write_bytes(bytes(range(256)) * 8)
    return {"label": "tiny", "report": {"flags": ["-O1"]}}


def flip(file, bit):
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def drill(times, seed, folder):
    """Flip so many bits; return how many were noticed or harmless, by kind of file, and what was misread."""
    chance, shelf, outcomes, misread = random.Random(seed), Shelf(folder), Counter(), []  # noqa: S311
    for _ in range(times):
        file = chance.choice(shelf.files)
        content, bit = file.read_bytes(), chance.randrange(8 * file.stat().st_size)
        flip(file, bit)
        try:
            found = shelf.read()
            wrong = [name for name, value in found.items() if value not in (shelf.whole.get(name), ())]
            misread += [f"{file}: bit {bit}: {name}" for name in wrong]
            outcomes["harmless" if found == shelf.whole else "noticed"] += 1
        except CacheError:
            outcomes["noticed"] += 1
        file.write_bytes(content)
    return outcomes, misread


def main():
    """Drill in a temporary folder; exit code 1 if something was misread."""
    asked = arguments(__doc__, times=2000, what="bits")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        outcomes, misread = drill(asked.times, asked.seed, Path(folder))
    return report(f"{asked.times} flips ({dict(outcomes)})", misread)


if __name__ == "__main__":
    sys.exit(main())

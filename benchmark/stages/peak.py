"""Get what the machine of a cell reaches at most: from the cache, else measured in a child process."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt, TypeAdapter

from benchmark.cache.compile_cache import Entries
from benchmark.cache.manifest import entry_key
from benchmark.cell import Environment
from benchmark.errors import CacheError, LibraryMissing, RunFailure, Unavailable
from benchmark.identity import options_of, source_digest
from benchmark.paths import host_peaks, write_whole
from benchmark.protocols import Call, Device
from benchmark.records import DeviceFacts, frozen
from benchmark.sealed import opened, sealed
from benchmark.timing.roofline import Peak

log = logging.getLogger(__name__)

_FILE = "peak.json"
_SECONDS = 2.0
_FIRST_PATIENCE_S = 600.0
_DAY_S = 24 * 3600.0
_PEAK = TypeAdapter(Peak)


@frozen
class _Record:
    """Outcome of the last measurement on this host: a peak, or the reason of a refusal."""

    peak: Peak | None = None
    reason: str = ""
    refusals: NonNegativeInt = 0
    """Times in a row that the host was too busy."""

    @property
    def patience_s(self) -> float:
        """How long the host isn't tried again: ten minutes, twice as long each time, a day at most."""
        return min(_DAY_S, _FIRST_PATIENCE_S * 2.0 ** (self.refusals - 1))


_RECORD = TypeAdapter(_Record)


def peak(
    device: Device, environment: Environment, cache: Entries, call: Call, folder_of_host: Path | None = None
) -> Peak | None:
    """Return the machine's peak, measured once for each environment, whatever the compiler.

    The caller holds the host. None for devices that torch has no kernels for, and where the measurement
    failed: the log says why, and the cache keeps nothing. `folder_of_host` has the outcome for all commands
    of this host, whatever their caches.
    """
    torch_version = environment.versions.get("torch")
    if device.torch_device is None or torch_version is None:
        return None
    made_of = {
        "device": options_of(device),
        "facts": asdict(environment.facts),
        "torch": torch_version,
        "settings": dict(environment.settings),
        "code": source_digest(frozenset({"benchmark.timing.torch_peak"})),
    }
    file = (folder_of_host or host_peaks()) / f"{entry_key('peak', made_of)}.json"

    def build(folder: Path) -> Mapping[str, Any]:
        found = _known(file) or _measured(file, partial(call, _measure, device, environment.facts))
        (folder / _FILE).write_bytes(_PEAK.dump_json(found, indent=1))
        threads = f" threads={environment.facts.threads}" if environment.facts.threads else ""
        return {"label": f"{environment.facts.device_name}{threads}"}

    try:
        entry = cache.get_or_build("peak", made_of, build)
    except (RunFailure, CacheError) as failure:
        log.warning("hardware=%s: roofline_fraction skipped: %s", device.name, failure)
        return None
    return _PEAK.validate_json((entry.folder / _FILE).read_bytes())


def _known(file: Path) -> Peak | None:
    """The peak that this host had less than a day ago.

    Raises:
        Unavailable: the host was too busy a short time ago; with the time of the next attempt.
    """
    record, age_s = _read(file)
    if record.refusals and age_s < record.patience_s:
        minutes = math.ceil((record.patience_s - age_s) / 60)
        raise Unavailable(f"{record.reason}; next attempt in {minutes} min, or delete {file}")
    return record.peak if age_s < _DAY_S else None


def _measured(file: Path, measure: Callable[[], Peak]) -> Peak:
    """Measure now, and remember the outcome.

    Raises:
        Unavailable: the host is too busy.
    """
    try:
        found = measure()
    except LibraryMissing:
        raise
    except Unavailable as busy:
        before, age_s = _read(file)
        refusals = 1 + (before.refusals if age_s < before.patience_s + _DAY_S else 0)
        _write(file, _Record(reason=str(busy), refusals=refusals))
        raise
    _write(file, _Record(peak=found))
    return found


def _read(file: Path) -> tuple[_Record, float]:
    """The last outcome, and its age in seconds."""
    with suppress(OSError, ValueError):
        if (age_s := time.time() - file.stat().st_mtime) >= 0:
            return _RECORD.validate_json(json.dumps(opened(file.read_bytes()))), age_s
    return _Record(), math.inf


def _write(file: Path, record: _Record) -> None:
    with suppress(OSError):  # then the next command measures again
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(file, sealed(_RECORD.dump_python(record, mode="json")))


def _measure(device: Any, facts: DeviceFacts) -> Peak:
    """In the child."""
    from benchmark.timing import torch_peak

    device.configure_process()
    return torch_peak.measure(device.torch_device, facts.threads, _SECONDS)

"""Get what the machine of a cell reaches at most: from the cache, else measured in a child process."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from benchmark.cache.compile_cache import Entries
from benchmark.cache.manifest import entry_key
from benchmark.cell import Environment
from benchmark.errors import LibraryMissing, RunFailure, Unavailable
from benchmark.identity import options_of, source_digest
from benchmark.paths import write_whole
from benchmark.protocols import Call, Device
from benchmark.records import DeviceFacts
from benchmark.timing.roofline import Peak

log = logging.getLogger(__name__)

_FILE = "peak.json"
_SECONDS = 2.0
_REMEMBERED_S = 600
"""How long a busy host isn't tried again, by any command."""
_PEAK = TypeAdapter(Peak)


def peak(
    device: Device, environment: Environment, cache: Entries, call: Call, refusals: Path | None = None
) -> Peak | None:
    """Return the machine's peak, measured once for each environment, whatever the compiler.

    The caller holds the host. None for devices that torch has no kernels for, and where the measurement
    failed: the log says why, and the cache keeps nothing. That the host was busy is remembered in `refusals`,
    a folder of this host, for ten minutes; later commands don't measure again so long.
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
    folder_of_host = Path(tempfile.gettempdir()) / f"benchmark-peaks-{os.getuid()}"
    refusal = (refusals or folder_of_host) / f"{entry_key('peak', made_of)}.txt"

    def build(folder: Path) -> Mapping[str, Any]:
        if reason := _recent(refusal):
            raise Unavailable(reason)
        try:
            return call(_measure, device, environment.facts, folder)
        except LibraryMissing:
            raise
        except Unavailable as busy:
            _remember(refusal, str(busy))
            raise

    try:
        entry = cache.get_or_build("peak", made_of, build)
    except RunFailure as failure:
        log.warning("hardware=%s: roofline_fraction skipped: %s", device.name, failure)
        return None
    return _PEAK.validate_json((entry.folder / _FILE).read_bytes())


def _recent(refusal: Path) -> str:
    """Reason of a refusal of the last minutes, and when the next attempt is made; empty without one."""
    with suppress(OSError):
        age_s = time.time() - refusal.stat().st_mtime
        if 0 <= age_s < _REMEMBERED_S:
            minutes = -int((age_s - _REMEMBERED_S) // 60)
            return (
                f"{refusal.read_text(encoding='utf-8')}; next attempt in {minutes} min, or delete {refusal}"
            )
    return ""


def _remember(refusal: Path, reason: str) -> None:
    with suppress(OSError):  # then the next command tries again
        refusal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(refusal, reason.encode())


def _measure(device: Any, facts: DeviceFacts, folder: Path) -> Mapping[str, Any]:
    """In the child."""
    from benchmark.timing import torch_peak

    device.configure_process()
    measured = torch_peak.measure(device.torch_device, facts.threads, _SECONDS)
    (folder / _FILE).write_bytes(_PEAK.dump_json(measured, indent=1))
    threads = f" threads={facts.threads}" if facts.threads else ""
    return {"label": f"{facts.device_name}{threads}"}

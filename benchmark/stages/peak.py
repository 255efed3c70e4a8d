"""Get what the machine of a cell reaches at most: from the cache, else measured in a child process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from benchmark.cache.compile_cache import Entries
from benchmark.cell import Environment
from benchmark.errors import RunFailure
from benchmark.identity import options_of, source_digest
from benchmark.protocols import Call, Device
from benchmark.records import DeviceFacts
from benchmark.timing.roofline import Peak

log = logging.getLogger(__name__)

_FILE = "peak.json"
_SECONDS = 2.0
_PEAK = TypeAdapter(Peak)


def peak(device: Device, environment: Environment, cache: Entries, call: Call) -> Peak | None:
    """Return the machine's peak, measured once for each environment, whatever the compiler.

    The caller holds the host. None for devices that torch has no kernels for, and where the measurement
    failed: the log says why, and the cache keeps nothing.
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
    try:
        entry = cache.get_or_build(
            "peak", made_of, lambda folder: call(_measure, device, environment.facts, folder)
        )
    except RunFailure as failure:
        log.warning("hardware=%s: roofline_fraction skipped: %s", device.name, failure)
        return None
    return _PEAK.validate_json((entry.folder / _FILE).read_bytes())


def _measure(device: Any, facts: DeviceFacts, folder: Path) -> Mapping[str, Any]:
    """In the child."""
    from benchmark.timing import torch_peak

    device.configure_process()
    measured = torch_peak.measure(device.torch_device, facts.threads, _SECONDS)
    (folder / _FILE).write_bytes(_PEAK.dump_json(measured, indent=1))
    threads = f" threads={facts.threads}" if facts.threads else ""
    return {"label": f"{facts.device_name}{threads}"}

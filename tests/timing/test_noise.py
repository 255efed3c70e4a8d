"""What disturbs, by readings that are made up, and by a process that really competes for one CPU."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from benchmark.host import sensors
from benchmark.measurement import DeviceState, Noise
from benchmark.timing import noise
from benchmark.timing.noise import Watch

QUIET = DeviceState(clock_mhz=1400.0, throttle_count=3, other_processes=0)


@pytest.fixture
def host(monkeypatch):
    """A host of four CPUs whose readings are set by hand; calm unless changed."""
    readings = {
        "wall_s": [0.0, 10.0],
        "cpu_s": [0.0, 10.0],
        "run_queue": [(0, 0), (9_900_000_000, 100_000_000)],
        "switches": [5, 15],
        "ticks": [sensors.Ticks(0, 0, 0), sensors.Ticks(4000, 2999, 0)],
        "quota": [sensors.Throttling(1, 0), sensors.Throttling(100, 0)],
    }
    times = iter((0, 1))

    def read(device, _):
        at = next(times)
        ran, queued = readings["run_queue"][at]
        return noise._Reading(
            wall_s=readings["wall_s"][at],
            usage=noise.Usage(readings["cpu_s"][at], ran, queued, readings["switches"][at]),
            host=readings["ticks"][at],
            quota=readings["quota"][at],
            device=device,
        )

    monkeypatch.setattr(noise, "_read", read)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    return readings


def found(before=QUIET, after=QUIET):
    return Watch(before).noise(after, 0.97)


def test_a_calm_host_raises_no_flag(host):
    calm = found()
    assert calm.flags == ()
    assert calm.on_cpu == 0.99
    assert calm.involuntary_switches_per_s == 1
    assert calm.host_cpu == pytest.approx(0.25, abs=0.001)
    assert calm.others_cores == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(
    ("name", "reading", "flag"),
    [
        ("run_queue", (9_000_000_000, 1_000_000_000), "contended"),
        ("switches", 1006, "preempted"),
        ("ticks", sensors.Ticks(4000, 2900, 60), "stolen"),
        ("ticks", sensors.Ticks(4000, 2700, 0), "busy_host"),
        ("quota", sensors.Throttling(100, 2), "quota"),
    ],
)
def test_each_reading_raises_its_flag(host, name, reading, flag):
    host[name][1] = reading
    assert found().flags == (flag,)


@pytest.mark.parametrize(
    ("state", "flag"),
    [
        (DeviceState(throttle_reasons=("HwSlowdown",)), "throttled"),
        (DeviceState(throttle_count=4), "throttled"),
        (DeviceState(clock_mhz=1300.0), "slowed"),
        (DeviceState(other_processes=2), "shared_device"),
    ],
)
def test_the_device_raises_its_own(host, state, flag):
    assert found(after=state).flags == (flag,)


def test_what_a_host_does_not_tell_stays_unknown(host):
    host.update(ticks=[None, None], quota=[None, None], run_queue=[(0, 0), (0, 0)])
    blind = found(DeviceState(), DeviceState())
    assert (blind.on_cpu, blind.steal, blind.host_cpu, blind.others_cores) == (None, None, None, None)
    assert blind.flags == ()


def test_over_a_moment_nothing_is_said_of_the_host(host):
    host["wall_s"][1] = 0.01
    assert found().steal is None


def _burn(seconds, cpu, answer=None):
    os.sched_setaffinity(0, {cpu})
    watch = Watch(DeviceState())
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    if answer:
        answer.send(watch.noise(DeviceState(), 0.97))


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="this kernel tells no run queues")  # noqa: PTH110
def test_a_process_that_shares_its_cpu_is_contended():
    context = multiprocessing.get_context("fork")
    cpu = min(os.sched_getaffinity(0))
    end, answer = context.Pipe(duplex=False)
    burners = [context.Process(target=_burn, args=(0.6, cpu)) for _ in range(2)]
    burners.append(context.Process(target=_burn, args=(0.5, cpu, answer)))
    for burner in burners:
        burner.start()
    message = end.recv()
    for burner in burners:
        burner.join()
    assert isinstance(message, Noise)
    assert message.on_cpu < 0.9
    assert "contended" in message.flags

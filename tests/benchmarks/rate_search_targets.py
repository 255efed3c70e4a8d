"""How far searches are from the exact limit of M/D/c queues.

python -m tests.benchmarks.rate_search_targets [SEEDS [PERCENTILES [QUEUES]]], such as 50 90,99 1x5,4x5

Each line is one queue, limit and percentile whose exact limit is 100 requests/s, with at most 75 s of load:
the share of searches within 5 % of it, the share of 95 % intervals that hold it, load points at most, mean
seconds of load. The exact limits are those of Franx' formula, checked by tests/stats/test_queueing.py.
"""

from __future__ import annotations

import sys

import numpy as np

from benchmark.stats.queue_model import Calls, QueueModel
from benchmark.stats.queueing import highest_load
from benchmark.stats.rate_search import WARMUP, RateSearch, Trial

QUEUES = [(1, 2), (1, 3), (1, 5), (1, 10), (2, 2), (2, 3), (2, 5), (2, 10), (4, 3), (4, 5)]
PERCENTILES = (90, 95, 99)


def answered(arrivals, servers, service_s):
    """Latencies of a first come, first served queue with a constant service time: servers take turns."""
    started = np.empty_like(arrivals)
    for server in range(servers):
        own = arrivals[server::servers]
        back_to_back = np.arange(len(own)) * service_s
        started[server::servers] = np.maximum.accumulate(own - back_to_back) + back_to_back
    return started + service_s - arrivals


def equal(count, seconds, slack):
    """Calls that are all alike."""
    return Calls(np.full(count, seconds), np.full(count, slack))


def searched(servers, limit, percentile, seed, *, rate=100.0, first=1.0, seconds=75.0):  # noqa: PLR0913 - a test's axes
    """One search and the exact rate; the first rate tried is `first` times the exact one."""
    exact = highest_load(servers, limit, percentile)
    service_s = exact * servers / rate
    search = RateSearch(
        1 - percentile / 100,
        lambda calls: QueueModel(servers, 1, 0.0, calls),
        start=first * rate,
        seconds=seconds,
        precision=0.03,
    )
    rng = np.random.default_rng([seed, servers, limit, percentile])
    while wanted := search.next():
        length = search.replication_s
        arrivals = np.sort(rng.uniform(0, length, rng.poisson(wanted.rate * length)))
        late = answered(arrivals, servers, service_s) > limit * service_s
        calls = {1: equal(len(arrivals), service_s, (limit - 1) * service_s)}
        search.add(Trial(wanted.rate, wanted.role, length, WARMUP * length, arrivals, late, calls))
    return search


def main(seeds=50, percentiles=PERCENTILES, queues=QUEUES):
    for servers, limit in queues:
        for percentile in percentiles:
            near = covered = points = spent = 0
            for seed in range(seeds):
                search = searched(servers, limit, percentile, seed)
                rate, lo, hi = search.found()
                near += abs(rate / 100 - 1) <= 0.05
                covered += lo <= 100 <= hi
                points = max(points, len({trial.rate for trial in search.trials}))
                spent += sum(trial.spent_s for trial in search.trials) / seeds
            print(
                f"c={servers} limit={limit:2d} D p{percentile}: within 5 % {near / seeds:4.0%}  interval "
                f"holds it {covered / seeds:4.0%}  load points <= {points}  {spent:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    seeds, percentiles, queues = (*sys.argv[1:], *("50", "90,95,99", "")[len(sys.argv) - 1 :])
    main(
        int(seeds),
        [int(percentile) for percentile in percentiles.split(",")],
        [tuple(map(int, queue.split("x"))) for queue in queues.split(",") if queue] or QUEUES,
    )

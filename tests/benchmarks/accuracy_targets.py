"""How often Wilson's interval, McNemar's test and the interval of the difference are right, by simulation.

python tests/benchmarks/accuracy_targets.py    a minute; tests/stats/test_paired.py asserts the quick form
"""

from __future__ import annotations

import numpy as np

from benchmark.stats import paired

DRAWS = 20_000


def counted(draws):
    """Distinct draws and how often each came."""
    return np.unique(draws, axis=0, return_counts=True)


def coverage_of_wilson(share, items, rng):
    numbers, times = counted(rng.binomial(items, share, DRAWS))
    return np.average(
        [lo <= share <= hi for _, lo, hi in (paired.wilson(int(k), items) for k in numbers)], weights=times
    )


def found_and_covered(items, lost_share, won_share, rng):
    """Share of draws in which the test finds a difference, and in which the interval holds the true one."""
    shares = [lost_share, won_share, 1 - lost_share - won_share]
    pairs, times = counted(rng.multinomial(items, shares, DRAWS)[:, :2])
    found = [paired.mcnemar(int(lost), int(won)) < 0.05 for lost, won in pairs]
    bounds = [paired.difference(int(lost), int(won), items) for lost, won in pairs]
    truth = won_share - lost_share
    covered = [one.lo - 1e-12 <= truth <= one.hi + 1e-12 for one in bounds]
    return np.average(found, weights=times), np.average(covered, weights=times)


def main():
    rng = np.random.default_rng(0)
    print("Wilson's 95 % interval: share of draws that cover")
    print("      n " + "".join(f"{share:>7.2f}" for share in (0.5, 0.7, 0.9, 0.95, 0.99)))
    every = []
    for items in (100, 557, 1000, 10_000):
        line = [coverage_of_wilson(share, items, rng) for share in (0.5, 0.7, 0.9, 0.95, 0.99)]
        every += line
        print(f"{items:7} " + "".join(f"{one:7.3f}" for one in line))
    print(f"mean {np.mean(every):.4f}, at least .94 wanted")
    print("\nMcNemar's exact test at .05, and the interval of the difference")
    print("      n   lost    won  found formula covered")
    for items in (100, 557, 1000, 5000):
        for lost, won in ((0.01, 0.01), (0.05, 0.05), (0.02, 0.01), (0.03, 0.01), (0.06, 0.03)):
            found, covered = found_and_covered(items, lost, won, rng)
            formula = paired.power(items, lost, won)
            print(f"{items:7} {lost:6.3f} {won:6.3f} {found:6.3f} {formula:7.3f} {covered:7.3f}")


if __name__ == "__main__":
    main()

"""What drills share: their options and the line at their end."""

from __future__ import annotations

import argparse


def arguments(about, *, times, what):
    """Options of a drill that is run by hand."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=times, help=f"how many {what}")
    parser.add_argument("--seed", type=int, default=0, help="of what is random")
    return parser.parse_args()


def report(done, faults):
    """Print the faults and a summary; return the exit code."""
    print(*faults, f"{done}: {len(faults)} broken promises", sep="\n", flush=True)
    return 1 if faults else 0

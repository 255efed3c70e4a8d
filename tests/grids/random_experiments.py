"""Random experiments against a brute-force definition of their cells.

`python tests/grids/random_experiments.py --times 200 --seed 0` writes experiments with random axes, pairs,
single cells, exclusions and overrides of the command line as YAML, lays each out as the program does, and
compares the set of cells with the assignments, out of all that its values allow, of which the definition
says that they belong to the grid.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmark.config.sweep import compose_grid
from benchmark.errors import ConfigError

VALUES = {
    "model": ["bert_tiny", "vit_tiny", "distilbert_tiny"],
    "batch": [1, 2, 4, 8, 16],
    "seq_len": [8, 32, 128, 512],
    "compiler.fast_math": ["none", "matmult", "all"],
    "compiler.jitter": [0.0, 0.1, 0.5],
    "sampling": ["quick", "default"],
}
DEFAULTS = {
    "model": "bert_tiny",
    "batch": 1,
    "seq_len": 128,
    "compiler.fast_math": "none",
    "compiler.jitter": 0.0,
    "sampling": "default",
}
KEYS = list(VALUES)
LENGTHS = {20: "quick", 30: "default"}
"""`sampling.min_calls` of the YAMLs: an experiment does not know the name of its sampling."""


class Drawing(NamedTuple):
    """An experiment in plain values."""

    axes: Any
    pairs: Any
    lines: Any
    exclude: Any
    asked: Any
    """By the command line."""


def some(rng, values, least=1):
    return rng.sample(values, rng.randint(least, len(values)))


def drawn(rng):
    """Axes, pairs, single cells, exclusions, and what the command line asks."""
    keys = rng.sample(KEYS, len(KEYS))
    axes = {key: some(rng, VALUES[key]) for key in keys[: rng.randint(0, 3)]}
    pairs = []
    if rng.random() < 0.6:
        columns = keys[3:5]
        rows = rng.randint(1, 3)
        pairs.append([{key: rng.choice(VALUES[key]) for key in columns} for _ in range(rows)])
    lines = [
        {key: rng.choice(VALUES[key]) for key in rng.sample(KEYS, rng.randint(1, 3))}
        for _ in range(rng.choice([0, 0, 1, 3]))
    ]
    exclude = [
        {key: condition(rng, VALUES[key]) for key in rng.sample(KEYS, rng.randint(1, 2))}
        for _ in range(rng.choice([0, 1, 1, 2]))
    ]
    asked = {key: some(rng, VALUES[key])[:3] for key in rng.sample(KEYS, rng.choice([0, 0, 1, 2]))}
    return Drawing(axes, pairs, lines, exclude, asked)


def condition(rng, values):
    """A condition as YAML may have it."""
    if isinstance(values[0], str):
        return rng.choice(
            [rng.choice(values), rng.choice(values)[:3] + "*", some(rng, values), "!=" + values[0]]
        )
    limit = rng.choice(values)
    return rng.choice([limit, f"{rng.choice(['<', '<=', '>', '>=', '!='])}{limit}", some(rng, values)])


def holds(condition, value):
    """What a condition means, said once more in other words."""
    if isinstance(condition, list):
        return any(holds(one, value) for one in condition)
    if not isinstance(condition, str):
        return condition == value
    for sign in ("<=", ">=", "!=", "<", ">"):
        if condition.startswith(sign):
            limit = condition[len(sign) :]
            if sign == "!=":
                return str(value) != limit
            return eval(f"{value} {sign} {limit}")  # noqa: S307 - numbers of this file
    return value == condition or (condition.endswith("*") and str(value).startswith(condition[:-1]))


def belongs(cell, drawing):
    """Whether an assignment of a value to every key is a cell of the experiment."""
    axes, pairs, lines, exclude, asked = drawing
    wanted = all(cell[key] in values for key, values in asked.items())
    if not wanted:
        return False
    paired = {key for rows in pairs for key in rows[0]}
    several = axes or pairs or any(len(values) > 1 for values in asked.values())
    in_product = (several or not lines) and all(
        cell[key] in (asked.get(key) or axes.get(key) or [DEFAULTS[key]]) for key in KEYS if key not in paired
    )
    in_product = in_product and all(
        any(all(cell[k] == row[k] for k in row) for row in rows) for rows in pairs
    )
    excluded = any(all(holds(condition, cell[key]) for key, condition in entry.items()) for entry in exclude)
    single = {key: values[0] for key, values in axes.items() if len(values) == 1}
    included = any(
        all(
            cell[key] == line.get(key, cell[key] if key in asked else single.get(key, DEFAULTS[key]))
            for key in KEYS
        )
        for line in lines
    )
    return (in_product and not excluded) or included


def matches(row, asked):
    return all(row[key] in asked[key] for key in row if key in asked)


def spelled(values):
    return ",".join(map(str, values))


def written(folder, name, drawing):
    """The experiment as a YAML of its own folder."""
    columns = [{key: [row[key] for row in rows] for key in rows[0]} for rows in drawing.pairs]
    body = {
        "pair": columns,
        "include": drawing.lines,
        "exclude": [{**entry, "reason": "drawn"} for entry in drawing.exclude],
        "hydra": {
            "mode": "MULTIRUN",
            "sweeper": {"params": {key: spelled(values) for key, values in drawing.axes.items()}},
        },
    }
    (folder / "experiment").mkdir(exist_ok=True)
    file = folder / "experiment" / f"{name}.yaml"
    file.write_text("# @package _global_\n" + yaml.safe_dump(body), encoding="utf-8")


def laid(folder, name, asked):
    """The cells that the program makes of it, as tuples in the order of KEYS; None where it refuses."""
    command = [f"experiment={name}", f"hydra.searchpath=[file://{folder}]", "hardware=simulated"]
    try:
        experiments = compose_grid(
            [*command, *(f"{key}={spelled(values)}" for key, values in asked.items())]
        ).experiments
    except ConfigError:
        return None
    return [
        (
            e.model.name,
            e.batch,
            e.seq_len,
            e.compiler.fast_math,
            e.compiler.jitter,
            LENGTHS[e.sampling.min_calls],
        )
        for e in experiments
    ]


def check(times, seed, folder):
    """Compare so many experiments; return how many cells they had, and everything that differs."""
    rng, cells, wrong = random.Random(seed), 0, []  # noqa: S311 - no secret
    for number in range(times):
        drawing = drawn(rng)
        written(folder, f"drawn{number}", drawing)
        found = laid(folder, f"drawn{number}", drawing.asked)
        universe = (dict(zip(KEYS, choice, strict=True)) for choice in itertools.product(*VALUES.values()))
        expected = {tuple(cell.values()) for cell in universe if belongs(cell, drawing)}
        no_row = any(not any(matches(row, drawing.asked) for row in rows) for rows in drawing.pairs)
        if found is None:
            # Refused: nothing is left of the grid, the command line asks for a row that no pair has, or an
            # exclusion names what no cell has.
            wrong += (
                [f"experiment {number}: refused, but {len(expected)} cells belong"]
                if expected and not no_row
                else []
            )
            continue
        cells += len(set(found))
        if set(found) != expected:
            missing, added = sorted(expected - set(found))[:3], sorted(set(found) - expected)[:3]
            wrong.append(f"experiment {number}: lacks {missing}, has besides {added}: {drawing}")
    return cells, wrong


def main():
    """Compare in a temporary folder; exit code 1 if one differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=200, help="how many experiments")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cells, wrong = check(asked.times, asked.seed, Path(folder))
    print(*wrong, f"{asked.times} experiments, {cells} cells: {len(wrong)} differ", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Write fidelity.md: ten published rows, what AWS's scripts do and what we would, field by field.

`python -m tests.neuron.fidelity` writes it anew. AWS's side is in fidelity.yaml, ours is composed from conf/.
"""

from __future__ import annotations

import shlex
import sys
from functools import cache

import yaml

from benchmark import placement
from benchmark.cell import cell_of
from benchmark.cli import plan
from tests.neuron import command_lines

PAGE = command_lines.HERE / "fidelity.md"
DATA = command_lines.HERE / "fidelity.yaml"
SEED = {"seed": "003", "instance": "inf2.xlarge", "cast": "Matmult-BF16"}
DEFAULTS = {
    "--auto-cast": "matmult",
    "--auto-cast-type": "bf16",
    "--optlevel": "2",
    "--model-type": "generic",
}
"""What neuronx-cc did without a flag when these rows were measured (SDK 2.14 to 2.20)."""


@cache
def data():
    """AWS's side."""
    return yaml.safe_load(DATA.read_text(encoding="utf-8"))


def composed(row):
    """Our cell of a row."""
    blank = dict.fromkeys(("variant", "sequence_length", "image_size", "pipeline_cores", "task"), "")
    words, _ = command_lines.overrides({**blank, **SEED, **row["cell"]})
    return command_lines.experiment(words)


def source(at):
    """Repository with its commit, file and line."""
    folder, file, line = at.split(":")
    repository, path = data()["folders"][folder]
    return f"{data()['repositories'][repository]}, {path}{file}:{line}"


def effective(flags):
    """Options that a command line has in effect; the chip aside, which the scripts' host gives."""
    found, words = dict(DEFAULTS), [word for flag in flags for word in flag.split("=", 1)]
    while words:
        key = words.pop(0)
        found[key] = words.pop(0) if words and not words[0].startswith("-") else True
    return {key: value for key, value in found.items() if key != "--target"}


def ours(row):
    """Our side of each field that conf/ decides."""
    e = composed(row)
    shape, sits = cell_of(e).shape, placement.placement(e.task, e.model, e.compiler, e.hardware, e.scenario)
    found = {
        "task": e.task.name,
        "copies x callers": f"{e.scenario.replicas} x {e.scenario.workers}",
        "placement": placement.words(placement.column(sits)),
        "length": shape.sequence_length,
        "input length": shape.input_length,
        "image": shape.image_size,
        "steps": shape.steps,
        "inputs": e.inputs,
        "timing": f"{e.sampling.min_s:g} s and {e.sampling.min_calls} calls at least",
        "scheduler": e.model.architecture.get("scheduler", {}).get("class"),
        "graph": "own",
        "environment": " ".join(f"{name}={value}" for name, value in e.compiler.environment),
    }
    for part, line in plan.commands(e, {}).items():
        words = shlex.split(line)
        found[f"program of {part}"] = shlex.join(words[words.index("compile") + 1 :])
        found[f"weights of {part}"] = e.compiler.of_part(part).dtype
    return found


def is_same(field, theirs, own):
    """Whether both do the same; command lines are compared by the options in effect."""
    if field.startswith("program of ") and own is not None:
        return effective(shlex.split(theirs)) == effective(shlex.split(own))
    return theirs == own


def rows():
    """Each row with its fields: name, AWS's side, ours, why they differ, and AWS's source."""
    for row in data()["rows"]:
        own = ours(row)
        fields = [
            (name, said["theirs"], said.get("ours", own.get(name)), said.get("why"), source(said["at"]))
            for name, said in row["fields"].items()
        ]
        yield row, fields


def text():
    """The page."""
    parts = [
        "# Ten published rows, field by field",
        "",
        "Written by `python -m tests.neuron.fidelity`, from `fidelity.yaml` (what AWS's scripts do) and",
        "conf/ (what `experiment=inf2_performance hardware=inf2` would). Programs are arguments of",
        "neuronx-cc, the same where the options in effect are. Without a flag their compilers had",
        f"`{' '.join(f'{key} {value}' for key, value in DEFAULTS.items())}`.",
        "",
    ]
    for row, fields in rows():
        cell = row["cell"]
        parts += [f"## {row['row']}: {cell['model']}, batch {cell['batch']} ({cell['table']})", ""]
        parts += ["| field | AWS | ours | | AWS's source |", "| --- | --- | --- | --- | --- |"]
        for name, theirs, own, why, at in fields:
            said = "same" if why is None else f"differs: {why}"
            parts.append(f"| {name} | {_spelled(theirs)} | {_spelled(own)} | {said} | {at} |")
        parts.append("")
    return "\n".join(parts)


def _spelled(value):
    return "-" if value in {None, ""} else f"`{value}`" if str(value).startswith("-") else str(value)


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")

"""`nightly recipe`: the nightly benchmark for cron, systemd, GitHub, Kubernetes and AWS Batch, filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import pandas as pd
import typer
from rich.console import Console

from benchmark.errors import ConfigError
from benchmark.host import machine
from benchmark.report.display.table import print_table

FOLDER: Final = Path(__file__).parents[2] / "recipes"
_PLACEHOLDER: Final = re.compile(r"@([a-z_]+)@")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@+-]*")
"""What every one of the formats takes as it is: no blanks, quotes, %, or what a shell reads as its own."""
_DEVICES: Final = {"cuda": "nvidia.com/gpu"} | dict.fromkeys(
    ("inf1", "inf2", "trn1", "trn2"), "aws.amazon.com/neuron"
)
"""What their device plug-ins call them (NVIDIA/k8s-device-plugin, README; Neuron documentation, "Kubernetes
environment setup for Neuron"; both 2026-11)."""


class Recipe(NamedTuple):
    """A template, and where it goes once it is filled in."""

    file: str
    purpose: str
    place: str


RECIPES: Final[Mapping[str, Recipe]] = {
    "crontab": Recipe("crontab", "a line for cron", "crontab -e"),
    "service": Recipe("benchmark-nightly.service", "what systemd runs", "/etc/systemd/system"),
    "timer": Recipe("benchmark-nightly.timer", "when systemd runs it", "/etc/systemd/system"),
    "github": Recipe("github-actions.yml", "a workflow for a runner of your own", ".github/workflows"),
    "kubernetes": Recipe("kubernetes-cronjob.yml", "a CronJob with its volume", "kubectl apply -f"),
    "batch-job": Recipe(
        "batch-job.json", "a job definition of AWS Batch", "aws batch register-job-definition"
    ),
    "batch-submit": Recipe("batch-submit.json", "a job of it, now", "aws batch submit-job"),
    "batch-schedule": Recipe(
        "batch-schedule.json", "a job of it every night", "aws scheduler create-schedule"
    ),
}

_NAME = "Which one; without it they are listed."
_ACCEPTED = "Interpreter of the last accepted build."


def recipe(  # noqa: PLR0913, PLR0917 - a command line has that many
    name: Annotated[str, typer.Argument(help=_NAME)] = "",
    folder: Annotated[str, typer.Option(help="Checkout of this program.")] = "/srv/benchmark",
    experiment: Annotated[str, typer.Option(help="Grid of a night.")] = "nightly",
    hardware: Annotated[str, typer.Option(help="What it measures.")] = "cpu",
    accepted_python: Annotated[
        str, typer.Option(metavar="PATH", help=_ACCEPTED)
    ] = "/srv/benchmark-accepted/.venv/bin/python",
    hour: Annotated[int, typer.Option(min=0, max=23, help="When it starts.")] = 2,
    cpus: Annotated[int, typer.Option(min=0, help="CPUs it has.", show_default="this host's")] = 0,
    memory_gib: Annotated[int, typer.Option(min=1, help="Memory of a container.")] = 16,
    image: Annotated[
        str, typer.Option(help="Of containers.")
    ] = "registry.example.com/benchmark-orchestrator:latest",
    account: Annotated[str, typer.Option(help="Of AWS.")] = "123456789012",
    file_system: Annotated[
        str, typer.Option(help="Of EFS: keeps what jobs of AWS Batch write.")
    ] = "fs-12345678",
    mail: Annotated[str, typer.Option(help="Who hears of cron's failures.")] = "root",
) -> None:
    """Print the nightly benchmark as a recipe for cron, systemd, GitHub Actions, Kubernetes or AWS Batch.

    All of them run benchmark/recipes/nightly.sh: a grid, its check, a report. Exit code 3, a confirmed
    slow-down, fails the job; cells that failed hide nothing.
    """
    if not name:
        lines = [{"recipe": known, "is": one.purpose, "goes to": one.place} for known, one in RECIPES.items()]
        print_table(pd.DataFrame(lines), console=Console())
        return
    texts = {
        "folder": folder,
        "experiment": experiment,
        "hardware": hardware,
        "accepted_python": accepted_python,
        "image": image,
        "account": account,
        "file_system": file_system,
        "mail": mail,
    }
    numbers = {"hour": hour, "cpus": cpus or machine.usable_cores(), "memory_gib": memory_gib}
    print(filled(name, texts, numbers), end="")


def filled(name: str, texts: Mapping[str, str], numbers: Mapping[str, int]) -> str:
    """Return a recipe with the values of a site.

    Raises:
        ConfigError: there is no such recipe, hardware or experiment, or a value needs quoting somewhere.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name}: {', '.join(RECIPES)}")
    for option, text in texts.items():
        if not _PLAIN.fullmatch(text) or not (text or option == "accepted_python"):
            raise ConfigError(
                f"--{option.replace('_', '-')} {text!r}: letters, digits and _ . / : @ + - only, for some "
                "recipes would need quotes around anything else"
            )
    values = {**texts, **_made(texts, numbers)}
    # EventBridge Scheduler's universal targets spell a request's keys with capitals.
    submit = json.loads(_read("batch-submit", values))
    values["batch_submit"] = json.dumps(
        json.dumps({f"{key[0].upper()}{key[1:]}": submit[key] for key in submit})
    )
    return _read(name, values)


def _read(name: str, values: Mapping[str, str]) -> str:
    template = (FOLDER / RECIPES[name].file).read_text(encoding="utf-8")
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def _made(texts: Mapping[str, str], numbers: Mapping[str, int]) -> dict[str, str]:
    """What follows from the values, as each format spells it."""
    hardware, cpus, memory_gib = texts["hardware"], numbers["cpus"], numbers["memory_gib"]
    environment = {
        name.upper(): texts[name] for name in ("experiment", "hardware", "accepted_python") if texts[name]
    }
    device = _DEVICES.get(hardware)
    resources: dict[str, Any] = {"cpu": str(cpus), "memory": f"{memory_gib}Gi"}
    batch = [("VCPU", str(cpus)), ("MEMORY", str(memory_gib * 1024)), *[("GPU", "1")] * (hardware == "cuda")]
    neuron = ["/dev/neuron0"] * (hardware in _DEVICES and hardware != "cuda")
    return {
        "hour": f"{numbers['hour']}",
        "cpus": f"0-{cpus - 1}",
        "cron_environment": " ".join(f"{name}={value}" for name, value in environment.items()),
        "systemd_environment": "\n".join(
            f"Environment={name}={value}" for name, value in environment.items()
        ),
        "kubernetes_resources": json.dumps(resources | ({device: 1} if device else {})),
        "batch_resources": json.dumps([{"type": kind, "value": value} for kind, value in batch]),
        "batch_devices": json.dumps([{"hostPath": one, "containerPath": one} for one in neuron]),
    }

"""`nightly recipe`: the nightly benchmark for cron, systemd, GitHub Actions, Kubernetes and AWS Batch."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import pandas as pd
import typer

from benchmark.errors import ConfigError
from benchmark.host import machine
from benchmark.report.display.table import print_table
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen
from benchmark.spelling import did_you_mean

FOLDER: Final = Path(__file__).parents[2] / "recipes"
_PLACEHOLDER: Final = re.compile(r"@([a-z_]+)@")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@+-]*")
"""Characters that need no quoting in any of the formats."""
_MAY_BE_EMPTY: Final = ("accepted_python", "bucket")
_QUOTES: Final = (
    "use only letters, digits and _ . / : @ + -, because other characters would need quotes in some recipes"
)
_DEVICES: Final = {"cuda": "nvidia.com/gpu"} | dict.fromkeys(
    ("inf1", "inf2", "trn1", "trn2", "trn3"), "aws.amazon.com/neuron"
)
"""Resource names of Kubernetes device plug-ins (NVIDIA/k8s-device-plugin, README; Neuron documentation,
"Kubernetes environment setup for Neuron"; both 2026-11)."""


class Recipe(NamedTuple):
    """A template, and where the filled-in file goes."""

    file: str
    purpose: str
    place: str
    here: bool = False
    """Whether it runs on the host where it is printed."""


RECIPES: Final[Mapping[str, Recipe]] = {
    "crontab": Recipe("crontab", "a line for cron", "crontab -e", here=True),
    "service": Recipe("benchmark-nightly.service", "what systemd runs", "/etc/systemd/system", here=True),
    "timer": Recipe("benchmark-nightly.timer", "when systemd runs it", "/etc/systemd/system", here=True),
    "github": Recipe("github-actions.yml", "a workflow for a runner of your own", ".github/workflows"),
    "pull-request": Recipe(
        "pull-request.yml", "a workflow that compares a pull request with its base", ".github/workflows"
    ),
    "kubernetes": Recipe("kubernetes-cronjob.yml", "a CronJob with its volume", "kubectl apply -f"),
    "slurm": Recipe("slurm-array.sh", "an array of Slurm, which resumes after preemption", "sbatch"),
    "batch-job": Recipe(
        "batch-job.json", "a job definition of AWS Batch", "aws batch register-job-definition"
    ),
    "batch-submit": Recipe("batch-submit.json", "that job, once, now", "aws batch submit-job"),
    "batch-schedule": Recipe("batch-schedule.json", "that job, every night", "aws scheduler create-schedule"),
}

_HERE: Final = {name for name, one in RECIPES.items() if one.here}

_NAME = "Name of a recipe; without it the recipes are listed."
_ACCEPTED = "Python of the last accepted build, see outputs/README.md. Without it nothing is confirmed."
_FOLDER = "Checkout of this program, or the folder of its outputs where it is installed from a wheel."
_ELSEWHERE: Final = "/srv/benchmark"
_SCRIPT: Final = "benchmark/recipes/nightly.sh"


def recipe(  # noqa: PLR0913, PLR0917 - a command line has that many
    name: Annotated[str, typer.Argument(help=_NAME)] = "",
    folder: Annotated[
        str, typer.Option(help=_FOLDER, show_default=f"this one; for other machines {_ELSEWHERE}")
    ] = "",
    experiment: Annotated[str, typer.Option(help="Experiment that each night runs.")] = "nightly",
    hardware: Annotated[str, typer.Option(help="Hardware that it runs on.")] = "cpu",
    accepted_python: Annotated[str, typer.Option(metavar="PATH", help=_ACCEPTED)] = "",
    hour: Annotated[int, typer.Option(min=0, max=23, help="Hour at which it starts.")] = 2,
    cpus: Annotated[int, typer.Option(min=0, help="CPUs that it may use.", show_default="this host's")] = 0,
    memory_gib: Annotated[int, typer.Option(min=1, help="Memory of the container.")] = 16,
    image: Annotated[
        str, typer.Option(help="Container image.")
    ] = "registry.example.com/benchmark-orchestrator:latest",
    account: Annotated[str, typer.Option(help="AWS account.")] = "123456789012",
    file_system: Annotated[
        str, typer.Option(help="EFS file system for the outputs of AWS Batch jobs.")
    ] = "fs-12345678",
    bucket: Annotated[
        str,
        typer.Option(help="Bucket of S3 for the rows of Kubernetes and AWS Batch jobs, instead of a volume."),
    ] = "",
    mail: Annotated[str, typer.Option(help="Address to which cron mails failures.")] = "root",
) -> None:
    """Print a file that runs the nightly benchmark under cron, systemd, GitHub, Kubernetes or AWS Batch.

    Each runs benchmark/recipes/nightly.sh: a grid, its check, a report.
    Exit code 3, a confirmed slow-down, fails the job.
    Failed cells don't stop the check.
    """
    if not name:
        lines = [{"recipe": known, "is": one.purpose, "goes to": one.place} for known, one in RECIPES.items()]
        print_table(pd.DataFrame(lines), console=Screen())
        return
    texts = {
        "folder": folder or (str(Path.cwd()) if name in _HERE else _ELSEWHERE),
        "experiment": experiment,
        "hardware": hardware,
        "accepted_python": accepted_python,
        "image": image,
        "account": account,
        "file_system": file_system,
        "mail": mail,
        "bucket": bucket,
    }
    numbers = {"hour": hour, "cpus": cpus or machine.usable_cores(), "memory_gib": memory_gib}
    say(filled(name, texts, numbers), end="")


def filled(name: str, texts: Mapping[str, str], numbers: Mapping[str, int]) -> str:
    """Return a recipe with its values filled in.

    Raises:
        ConfigError: there is no such recipe, or a value has characters that would need quotes.
    """
    if name not in RECIPES:
        known = f"known: {', '.join(RECIPES)}"
        hints = " ".join(filter(None, (did_you_mean(name, RECIPES), known)))
        raise ConfigError(f"there is no recipe {name}; {hints}")
    for option, text in texts.items():
        if not _PLAIN.fullmatch(text) or not (text or option in _MAY_BE_EMPTY):
            raise ConfigError(f"--{option.replace('_', '-')} {text!r}: {_QUOTES}")
    values = {**texts, **_made(texts, numbers)}
    # EventBridge Scheduler's universal targets spell a request's keys with capitals.
    submit = json.loads(_read("batch-submit", values))
    values["batch_submit"] = json.dumps(
        json.dumps({f"{key[0].upper()}{key[1:]}": submit[key] for key in submit})
    )
    return _read(name, values)


def _read(name: str, values: Mapping[str, str]) -> str:
    template = (FOLDER / RECIPES[name].file).read_text(encoding="utf-8")
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def _made(texts: Mapping[str, str], numbers: Mapping[str, int]) -> dict[str, str]:
    """Values derived from the others, spelled for each format."""
    hardware, cpus, memory_gib = texts["hardware"], numbers["cpus"], numbers["memory_gib"]
    environment = {
        name.upper(): texts[name] for name in ("experiment", "hardware", "accepted_python") if texts[name]
    }
    script, environment = _script(Path(texts["folder"]), environment)
    device = _DEVICES.get(hardware)
    resources: dict[str, Any] = {"cpu": str(cpus), "memory": f"{memory_gib}Gi"}
    batch = [("VCPU", str(cpus)), ("MEMORY", str(memory_gib * 1024)), *[("GPU", "1")] * (hardware == "cuda")]
    neuron = ["/dev/neuron0"] * (hardware in _DEVICES and hardware != "cuda")
    return {
        **_places(texts),
        "hour": f"{numbers['hour']}",
        "cpus": f"{cpus}",
        "cpu_list": f"0-{cpus - 1}",
        "memory_gib": f"{memory_gib}",
        "script": script,
        "service_script": str(Path(texts["folder"]) / script),
        "cron_environment": " ".join(f"{name}={value}" for name, value in environment.items()),
        "systemd_environment": "\n".join(
            f"Environment={name}={value}" for name, value in environment.items()
        ),
        "kubernetes_resources": json.dumps(resources | ({device: 1} if device else {})),
        "batch_resources": json.dumps([{"type": kind, "value": value} for kind, value in batch]),
        "batch_devices": json.dumps([{"hostPath": one, "containerPath": one} for one in neuron]),
    }


def _places(texts: Mapping[str, str]) -> dict[str, str]:
    """Where containers keep rows: in a bucket, or on a volume."""
    mount = {"sourceVolume": "outputs", "containerPath": f"{texts['folder']}/outputs", "readOnly": False}
    if bucket := texts.get("bucket"):
        role = f"arn:aws:iam::{texts['account']}:role/benchmark-nightly"
        return {
            "store": f"s3://{bucket}/results",
            "kubernetes_claim": "",
            "kubernetes_volume": json.dumps({"name": "outputs", "emptyDir": {}}),
            "batch_role": f'\n    "jobRoleArn": "{role}",',
            "batch_volumes": "[]",
            "batch_mounts": "[]",
        }
    claim = {"name": "outputs", "persistentVolumeClaim": {"claimName": "benchmark-outputs"}}
    volume = {"name": "outputs", "efsVolumeConfiguration": {"fileSystemId": texts["file_system"]}}
    return {
        "store": "outputs/results",
        "kubernetes_claim": (FOLDER / "kubernetes-claim.yml").read_text(encoding="utf-8"),
        "kubernetes_volume": json.dumps(claim),
        "batch_role": "",
        "batch_volumes": json.dumps([volume]),
        "batch_mounts": json.dumps([mount]),
    }


def _script(folder: Path, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """What runs a night in this folder, and its environment: a checkout has its own script and interpreter.

    Raises:
        ConfigError: a path has characters that would need quotes.
    """
    more, script = {}, _SCRIPT
    if folder.is_dir() and not (folder / _SCRIPT).is_file():
        script = str(FOLDER / "nightly.sh")
        more["FOLDER"] = str(folder)
    if folder.is_dir() and not (folder / ".venv/bin/python").is_file():
        more["PYTHON"] = sys.executable
    for path in (script, *more.values()):
        if not _PLAIN.fullmatch(path):
            raise ConfigError(f"{path}: {_QUOTES}")
    return script, {**environment, **more}

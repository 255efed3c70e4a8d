"""Each recipe, filled in, passes its own linter, and what they all run runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from benchmark.cli.nightly.recipe import FOLDER, RECIPES, filled, recipe
from benchmark.errors import ConfigError
from tests.recipes.image import instructions

ROOT = Path(__file__).parents[2]
SCRIPT = FOLDER / "nightly.sh"
HARDWARE = ["cpu", "cuda", "inf2", "simulated"]
TEXTS = {
    "folder": "/srv/benchmark",
    "experiment": "nightly",
    "hardware": "cpu",
    "accepted_python": "/srv/accepted/bin/python",
    "image": "registry.example.com/benchmark@sha256:00ff",
    "account": "123456789012",
    "file_system": "fs-12345678",
    "mail": "root@example.com",
    "bucket": "",
}
NUMBERS = {"hour": 2, "cpus": 4, "memory_gib": 16}

program = typer.Typer()
program.command()(recipe)


def made(name, **more):
    texts = {**TEXTS, **{key: value for key, value in more.items() if key in TEXTS}}
    return filled(name, texts, {**NUMBERS, **{key: value for key, value in more.items() if key in NUMBERS}})


def outcome_of(*command, cwd=None, check=False, **more):
    """Exit code and all that a linter says."""
    ran = subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=60, check=check, **more
    )
    return ran.returncode, ran.stdout + ran.stderr


def installed(name):
    """Where a linter is: on the PATH, or beside the interpreter."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def put(tmp_path):
    """Write a recipe under its own name."""

    def written(name, text):
        file = tmp_path / RECIPES[name].file
        file.write_text(text)
        return file

    return written


def test_a_recipe_is_printed_with_the_values_of_a_site():
    typed = [
        "crontab",
        "--folder",
        "/opt/b",
        "--hardware",
        "inf2",
        "--hour",
        "4",
        "--accepted-python",
        "/a/python",
    ]
    ran = CliRunner().invoke(program, typed)
    assert "17 4 * * * cd /opt/b && " in ran.stdout
    assert "HARDWARE=inf2 ACCEPTED_PYTHON=/a/python sh benchmark/recipes/nightly.sh" in ran.stdout


def test_without_a_name_recipes_are_listed():
    ran = CliRunner().invoke(program, [])
    assert ran.exit_code == 0
    assert all(name in ran.stdout for name in RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_every_placeholder_is_filled(name):
    assert not re.search(r"@[a-z_]+@", made(name))


def test_every_file_is_a_recipe_or_what_they_run():
    beside = {SCRIPT.name, "kubernetes-claim.yml", "Dockerfile", "Dockerfile.device", "README.md"}
    assert {path.name for path in FOLDER.iterdir()} == {one.file for one in RECIPES.values()} | beside


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("cron", {}, r"there is no recipe cron; did you mean 'crontab'\? known: crontab, service"),
        ("crontab", {"folder": "/srv/my bench"}, r"--folder '/srv/my bench': use only letters, digits"),
        ("service", {"mail": "a%b"}, r"--mail 'a%b'"),
        ("github", {"hardware": "${{ secrets.X }}"}, r"--hardware"),
        ("kubernetes", {"image": ""}, r"--image ''"),
    ],
)
def test_mistakes_are_said(name, values, said):
    with pytest.raises(ConfigError, match=said):
        made(name, **values)


def test_cron_takes_its_line(put):
    crontab = installed("crontab")
    if "-n" not in outcome_of(crontab, "-h")[1]:
        pytest.skip("this crontab has no -n, which would check a file without installing it")
    file = put("crontab", made("crontab"))
    assert outcome_of(crontab, "-n", file)[0] == 0
    assert outcome_of(crontab, "-n", put("crontab", made("crontab").replace("17 2 *", "17 25 *")))[0] != 0


def test_crons_line_runs_one_at_a_time_and_tells_its_failure(tmp_path):
    """The line itself, by sh as cron runs it, with a night that finds a slow-down."""
    nights = tmp_path / "benchmark" / "recipes"
    nights.mkdir(parents=True)
    (nights / "nightly.sh").write_text('echo "$EXPERIMENT $HARDWARE $ACCEPTED_PYTHON"; exit 3\n')
    *_, line = made("crontab", folder=str(tmp_path)).splitlines()
    code, said = outcome_of("sh", "-c", line.split(" ", 5)[5])
    log = tmp_path / "outputs" / "nightly.log"
    assert (code, said) == (0, f"nightly benchmark: a slow-down is confirmed, see {log}\n")
    assert log.read_text() == "nightly cpu /srv/accepted/bin/python\n"
    held = ["flock", "-n", tmp_path / "outputs" / "nightly.lock", "sh", "-c", line.split(" ", 5)[5]]
    ended = f"nightly benchmark: no verdict, it ended with exit code 1, see {log}\n"
    assert outcome_of(*held) == (0, ended)


def test_what_runs_on_this_host_is_for_the_present_folder(tmp_path, monkeypatch):
    """A checkout has its own script and interpreter; another folder takes those of the installed program."""
    monkeypatch.chdir(tmp_path)
    bare = CliRunner().invoke(program, ["crontab"]).stdout
    assert f"cd {tmp_path} && " in bare
    assert f" FOLDER={tmp_path} PYTHON={sys.executable} sh {SCRIPT} >>" in bare
    assert "ACCEPTED_PYTHON=/" not in bare
    for file in ("benchmark/recipes/nightly.sh", ".venv/bin/python"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    checkout = CliRunner().invoke(program, ["crontab"]).stdout
    assert " env EXPERIMENT=nightly HARDWARE=cpu sh benchmark/recipes/nightly.sh >>" in checkout
    assert 'workingDir: "/srv/benchmark"' in CliRunner().invoke(program, ["kubernetes"]).stdout


def test_a_night_of_an_installed_program_runs_in_its_folder(tmp_path):
    (tmp_path / "python").write_text(FAKE)
    (tmp_path / "python").chmod(0o755)
    environment = {**os.environ, "FOLDER": str(tmp_path), "PYTHON": "./python", "RUN": "0", "CHECK": "0"}
    assert outcome_of("sh", SCRIPT, env=environment)[0] == 0
    assert len((tmp_path / "calls").read_text().splitlines()) == 3


def test_systemd_takes_its_units(put):
    analyze = installed("systemd-analyze")
    files = [put(name, made(name, folder=str(ROOT))) for name in ("service", "timer")]
    assert outcome_of(analyze, "verify", *files) == (0, "")
    files[0].write_text(files[0].read_text().replace("Nice=-5", "Nice=-500"))
    assert "Nice" in outcome_of(analyze, "verify", *files)[1]


def test_systemd_knows_when_it_is():
    analyze = installed("systemd-analyze")
    when = re.search("OnCalendar=(.*)", made("timer", hour=4))[1]
    code, said = outcome_of(analyze, "calendar", when)
    assert code == 0
    assert "04:17:00" in said


@pytest.mark.parametrize("name", ["github", "pull-request"])
def test_github_takes_its_workflow(put, name):
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    lint = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    file = put(name, made(name, hardware="inf2"))
    assert outcome_of(*lint, file)[0] == 0
    file.write_text(file.read_text().replace("timeout-minutes", "timeout-hours"))
    assert outcome_of(*lint, file)[0] == 1


@pytest.mark.parametrize("name", ["github", "pull-request"])
def test_the_shell_of_a_workflow_parses(name):
    workflow = yaml.safe_load(made(name))
    (job,) = workflow["jobs"].values()
    for step in job["steps"]:
        if "run" in step:
            assert outcome_of("bash", "-n", "-c", step["run"]) == (0, "")


@pytest.mark.parametrize("hardware", HARDWARE)
def test_kubernetes_takes_its_manifests(hardware):
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )
    claim, job = yaml.safe_load_all(made("kubernetes", hardware=hardware))
    for manifest in (claim, job):
        kubernetes_validate.validate(manifest, "1.31", strict=True)
    spec = job["spec"]["jobTemplate"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == container["resources"]["requests"]
    device = {"cuda": "nvidia.com/gpu", "inf2": "aws.amazon.com/neuron"}.get(hardware)
    assert {*container["resources"]["limits"]} == {"cpu", "memory", *filter(None, [device])}
    spec["backoffLimits"] = spec.pop("backoffLimit")
    with pytest.raises(kubernetes_validate.ValidationError, match="backoffLimits"):
        kubernetes_validate.validate(job, "1.31", strict=True)


def test_a_bucket_takes_the_place_of_the_volume():
    (job,) = yaml.safe_load_all(made("kubernetes", bucket="my-bench"))
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"name": "STORE", "value": "s3://my-bench/results"} in container["env"]
    assert pod["volumes"] == [{"name": "outputs", "emptyDir": {}}]
    batch = json.loads(made("batch-job", bucket="my-bench"))
    assert validated("batch", "RegisterJobDefinition", batch) == ""
    container = batch["containerProperties"]
    assert {"name": "STORE", "value": "s3://my-bench/results"} in container["environment"]
    assert (container["volumes"], container["mountPoints"]) == ([], [])
    assert container["jobRoleArn"] == "arn:aws:iam::123456789012:role/benchmark-nightly"


def validated(service, operation, values):
    """What is wrong with a request, by the service's own description."""
    session = pytest.importorskip("botocore.session", reason="botocore is not installed").Session()
    from botocore.validate import ParamValidator

    model = session.get_service_model(service).operation_model(operation)
    return ParamValidator().validate(values, model.input_shape).generate_report()


@pytest.mark.parametrize("hardware", HARDWARE)
def test_batch_takes_its_job_definition(hardware):
    job = json.loads(made("batch-job", hardware=hardware))
    assert validated("batch", "RegisterJobDefinition", job) == ""
    container = job["containerProperties"]
    devices = [one["hostPath"] for one in container["linuxParameters"]["devices"]]
    assert devices == ["/dev/neuron0"] * (hardware == "inf2")
    assert ({"type": "GPU", "value": "1"} in container["resourceRequirements"]) == (hardware == "cuda")
    job["timeout"] = 60
    assert "timeout" in validated("batch", "RegisterJobDefinition", job)


def test_batch_and_its_schedule_submit_the_job_that_is_defined():
    submit = json.loads(made("batch-submit"))
    assert validated("batch", "SubmitJob", submit) == ""
    assert submit["jobDefinition"] == json.loads(made("batch-job"))["jobDefinitionName"]
    schedule = json.loads(made("batch-schedule"))
    assert validated("scheduler", "CreateSchedule", schedule) == ""
    assert json.loads(schedule["Target"]["Input"]) == {
        key[0].upper() + key[1:]: one for key, one in submit.items()
    }


def test_shell_takes_the_script():
    assert outcome_of("bash", "-n", SCRIPT) == (0, "")
    assert outcome_of("sh", "-n", SCRIPT) == (0, "")


def test_shellcheck_has_nothing_to_say(put):
    shellcheck = installed("shellcheck")
    array = put("slurm", made("slurm"))
    assert outcome_of(shellcheck, "-s", "sh", SCRIPT, array) == (0, "")
    array.write_text(array.read_text().replace('"$SLURM_ARRAY_TASK_ID" -lt', "$SLURM_ARRAY_TASK_ID -lt"))
    assert "SC2086" in outcome_of(shellcheck, "-s", "sh", array)[1]


def test_a_task_of_slurms_array_measures_its_model_and_resumes_by_the_arrays_number(tmp_path):
    script = tmp_path / "array.sh"
    script.write_text(made("slurm", folder=str(tmp_path)))
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    python.chmod(0o755)
    task = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1", "MODELS": "bert vit"}
    words = ["sh", script, "batch=1", "run=failed"]
    code, said = outcome_of(*words, env={**os.environ, **task})
    assert code == 0, said
    given = said.split("|")
    assert {"model=vit", "campaign=slurm-7", "batch=1", "run=failed"} <= {*given}
    assert outcome_of(*words, env={**os.environ, **task, "SLURM_ARRAY_TASK_ID": "2"}) == (0, "")


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.device"])
def test_hadolint_has_nothing_to_say(tmp_path, name):
    hadolint = installed("hadolint")
    assert outcome_of(hadolint, "--no-color", FOLDER / name) == (0, "")
    worse = tmp_path / "Dockerfile"
    worse.write_text((FOLDER / name).read_text().replace("WORKDIR /srv/", "WORKDIR srv/"))
    assert "DL3000" in outcome_of(hadolint, "--no-color", worse)[1]


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.device"])
def test_an_image_copies_what_it_installs_and_has_the_folder_of_the_recipes(name):
    steps = instructions(FOLDER / name)
    assert ("WORKDIR", TEXTS["folder"]) in steps
    copied = {word for step, words in steps if step == "COPY" for word in words.split()}
    assert {"benchmark", "conf", "pyproject.toml", "README.md"} <= copied
    asked = re.findall(r"EXTRAS=([\w,]+)|'\.\[([\w,]+)\]'", (FOLDER / name).read_text())
    extras = {one for groups in asked for text in groups for one in text.split(",") if one}
    known = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert extras
    assert extras <= {*known}


FAKE = """#!/bin/sh
echo "$@" >> calls
case $* in
  *nightly*check*) exit $CHECK ;;
  *report*) exit 1 ;;
  *) exit $RUN ;;
esac
"""
"""An interpreter that runs nothing and ends as it is asked to."""


@pytest.mark.parametrize(
    ("run", "check", "code", "calls"),
    [(0, 0, 0, 3), (2, 0, 0, 3), (2, 3, 3, 3), (0, 1, 1, 3), (1, 0, 1, 1), (4, 3, 4, 1), (130, 0, 130, 1)],
)
def test_cells_that_failed_hide_no_slow_down_and_a_mistake_ends_the_night(tmp_path, run, check, code, calls):
    recipes = tmp_path / "benchmark" / "recipes"
    recipes.mkdir(parents=True)
    shutil.copy(SCRIPT, recipes)
    (tmp_path / "python").write_text(FAKE)
    (tmp_path / "python").chmod(0o755)
    environment = {**os.environ, "PYTHON": "./python", "RUN": str(run), "CHECK": str(check), "NIGHT": "n"}
    assert outcome_of("sh", recipes / "nightly.sh", "a=b c", env=environment)[0] == code
    seen = (tmp_path / "calls").read_text().splitlines()
    assert len(seen) == calls
    assert seen[0].startswith("-m benchmark experiment=nightly hardware=cpu campaign=n ")
    assert seen[0].endswith(" a=b c")


def test_what_systemd_starts_runs_a_night(tmp_path):
    """The unit's own command line, on the simulated device, with a grid of one cell."""
    service = made("service", folder=str(ROOT), hardware="simulated", experiment="matrix_tiny")
    command = shlex.split(re.search("ExecStart=(.*)", service)[1])
    environment = dict(
        line.removeprefix("Environment=").split("=", 1)
        for line in service.splitlines()
        if line.startswith("Environment=")
    )
    environment |= {
        "PYTHON": sys.executable,
        "ACCEPTED_PYTHON": sys.executable,
        "STORE": str(tmp_path / "results"),
        "CACHE": str(tmp_path / "cache"),
        "REPORT": str(tmp_path / "report"),
        "NIGHT": "night-1",
    }
    command[command.index("-n") + 1] = str(tmp_path / "lock")  # not the checkout's own
    small = [
        "compiler=simulated",
        "model=bert_tiny",
        "sampling=quick",
        f"output_folder={tmp_path / 'outputs'}",
    ]
    code, said = outcome_of(*command, *small, env={**os.environ, **environment}, cwd=tmp_path)
    assert code == 0, said
    assert "night night-1: 1 series, 0 nights before it, 0 series judged, simulated" in said
    assert (
        "No verdict: the first night of this series; a verdict needs 7."
        in (tmp_path / "report" / "summary.md").read_text()
    )

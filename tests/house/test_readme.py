"""What README and the guides show to type works: every `python -m benchmark` line of their bash blocks."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from benchmark.__main__ import VERBS, main
from benchmark.config.sweep import grid

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / folder / "README.md" for folder in (".", "conf", "outputs", "compile_cache")]
"""README, and those guides whose commands work on any host."""
PROGRAM = ["python", "-m", "benchmark"]
TWINS = re.compile(r"\b(bert|roberta|distilbert|albert|vit|beit)\b")
LOOKS = {*VERBS, "--help", "--version"}
BRIEF = ("sampling=quick", "sampling.max_s=1", "sampling.min_s=0", "sampling.noise_retries=0")
STARTS = {"compile", "compare", "largest", "--help", "--version"}
"""Of these, those that start processes of their own, or that Hydra answers."""
FOUND = {"lint": 2, "compare": 3, "best": 2}
"""Exit codes of verbs that found something: on a busy host there may be noisy rows, or a slower side."""


def commands():
    """Arguments of every command, in order; `\\` goes on in the next line, `#` begins a remark."""
    text = "".join(guide.read_text(encoding="utf-8") for guide in GUIDES)
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[len(PROGRAM) :] for line in words if line[: len(PROGRAM)] == PROGRAM]


def last_cell(arguments):
    """Overrides of the last cell of a grid; an experiment's own are composed elsewhere."""
    words = [word for word in arguments if "=" in word and not word.startswith("experiment=")]
    return [re.sub(r"=.*,", "=", word) for word in words]


def measures(arguments):
    return not arguments or arguments[0] not in LOOKS


def cheaper(arguments):
    """A measurement for a test: tiny twins, a short look, a simulated device unless a compiler is chosen.

    Of three values and more the first and the last, of an experiment's cells those of one model and batch.
    """
    tiny = [TWINS.sub(r"\1_tiny", word) if word.startswith("model=") else word for word in arguments]
    tiny = [re.sub(r"=([^,]+),.*,", r"=\1,", word).replace("steps=5", "steps=1") for word in tiny]
    if any(word.startswith("experiment=") for word in tiny):
        tiny += ["batch=1", "model=bert_tiny"]
    chosen = [word for word in tiny if not word.startswith("hardware=")]
    real = any(word.startswith(("compiler", "experiment")) for word in chosen)
    return [*(tiny if real else chosen), *BRIEF, *([] if real else ["hardware=simulated"])]


def test_readme_has_commands_to_try():
    assert any(measures(arguments) for arguments in commands())


def test_every_run_and_plan_of_readme_can_be_composed():
    for arguments in commands():
        if measures(arguments) or arguments[0] == "plan":
            assert grid(last_cell(arguments))


@pytest.mark.real
@pytest.mark.timeout(900)
def test_every_command_of_readme_runs_in_its_order(command, monkeypatch, tmp_path, capfd):
    for arguments in commands():
        if arguments and arguments[0] in LOOKS - STARTS:
            code, told = looked(arguments, monkeypatch, tmp_path), "".join(capfd.readouterr())
        else:
            ran = command(*(cheaper(arguments) if measures(arguments) else brief(arguments)), timeout=300)
            code, told = ran.returncode, ran.stdout + ran.stderr
        right = {0, FOUND.get(arguments[0], 0) if arguments else 0}
        assert code in right, f"{shlex.join(arguments)}\n{told}"


def brief(arguments):
    """A comparison in turns of fewer calls: what they tell isn't asked here."""
    return [*arguments, "--turns", "3"] if arguments[0] == "compare" else arguments


def looked(arguments, monkeypatch, folder):
    """Exit code of a verb that starts no children, run here: an interpreter takes seconds to start."""
    with monkeypatch.context() as here:
        here.chdir(folder)
        here.setattr(sys, "argv", ["benchmark", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
    return stopped.value.code or 0


@pytest.mark.real
def test_the_model_of_the_recipe_works_from_its_one_yaml(command, tmp_path):
    (text,) = re.findall(
        r"^```yaml\n# conf/model/(\w+)\.yaml\n(.*?)^```",
        (ROOT / "conf" / "README.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
    name, yaml = text
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    (folder / f"{name}.yaml").write_text(yaml)
    ran = command(
        f"hydra.searchpath=[file://{tmp_path}/mine]",
        f"model={name}",
        "compiler=openvino",
        "sampling=quick",
        "sampling.min_calls=3",
        "sampling.max_s=3",
        timeout=240,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{name} cpu openvino none b1 px224: ok" in ran.stdout

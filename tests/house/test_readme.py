"""What the guides tell a reader to type works: every `python -m benchmark` line of their bash blocks."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from benchmark.__main__ import VERBS, main
from benchmark.config.sweep import grid

ROOT = Path(__file__).parents[2]
GUIDES = [
    *(ROOT / folder / "README.md" for folder in (".", "outputs", "compile_cache")),
    *(
        path
        for folder in ("conf", "benchmark", "tests")
        for path in sorted((ROOT / folder).rglob("README.md"))
    ),
]
PROGRAM = ["python", "-m", "benchmark"]
TWINS = re.compile(r"\b(bert|roberta|distilbert|albert|vit|beit)\b")
LOOKS = {*VERBS, "--help", "--version"}
BRIEF = ("sampling=quick", "sampling.max_s=1", "sampling.min_s=0", "sampling.repeats=1")
STARTS = {"compile", "compare", "largest", "--help", "--version"}
"""Of these, those that start processes of their own, or that Hydra answers."""
FINDINGS = {"lint": 2, "compare": 3, "best": 2}
"""Exit codes of verbs that found something: on a busy host there may be noisy rows, or a slower side."""


def text_of(guide):
    return guide.read_text(encoding="utf-8") if guide.exists() else ""


def commands():
    """Arguments of every command, in order; `\\` goes on in the next line, `#` begins a remark."""
    blocks = re.findall(r"^```bash\n(.*?)^```", "".join(map(text_of, GUIDES)), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    every = [tuple(line[len(PROGRAM) :]) for line in words if line[: len(PROGRAM)] == PROGRAM]
    return list(dict.fromkeys(every))


def last_cell(arguments):
    """Overrides of the last cell of a grid; an experiment's own are composed elsewhere."""
    words = [word for word in arguments if "=" in word and not word.startswith("experiment=")]
    return [re.sub(r"=.*,", "=", word) for word in words]


def measures(arguments):
    return not arguments or arguments[0] not in LOOKS


def cheaper(arguments):
    """A measurement for a test: tiny twins, a short look, a simulated device unless a compiler is chosen.

    Of three values and more the first, of an experiment's cells those of one model and batch.
    """
    tiny = [TWINS.sub(r"\1_tiny", word) if word.startswith("model=") else word for word in arguments]
    tiny = [re.sub(r"=([^,]+),[^,]+,.*", r"=\1", word).replace("steps=5", "steps=1") for word in tiny]
    if any(word.startswith("experiment=") for word in tiny):
        tiny += ["batch=1", "model=bert_tiny"]
    chosen = [word for word in tiny if not word.startswith("hardware=")]
    real = any(word.startswith(("compiler", "experiment")) for word in chosen)
    return [*(tiny if real else chosen), *BRIEF, *([] if real else ["hardware=simulated"])]


COMMANDS = commands()
RUNS = [arguments for arguments in COMMANDS if measures(arguments) or arguments[0] in STARTS]
"""What needs no rows: each in a folder of its own, on whichever core is free."""
VIEWS = [arguments for arguments in COMMANDS if arguments not in RUNS]


def test_the_guides_have_commands_to_try():
    assert any(map(measures, RUNS))
    assert VIEWS


@pytest.mark.parametrize(
    "arguments", [one for one in COMMANDS if measures(one) or one[0] == "plan"], ids=shlex.join
)
def test_a_run_or_plan_of_the_guides_can_be_composed(arguments):
    assert grid(last_cell(arguments))


@pytest.fixture
def typed(monkeypatch, capfd):
    """Type a command in a folder; return its exit code and what it printed.

    It runs in this process: an interpreter takes seconds to start.
    """

    def run(arguments, folder):
        with monkeypatch.context() as here:
            here.chdir(folder)
            here.setenv("HYDRA_FULL_ERROR", "0")  # main sets it
            here.setattr(sys, "argv", ["benchmark", *arguments])
            with pytest.raises(SystemExit) as stopped:
                main()
        return stopped.value.code or 0, "".join(capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for all views of this process."""
    return tmp_path_factory.mktemp("guides")


@pytest.fixture
def rows(place, typed):
    """Rows that the views look at, measured and published ones; made once."""
    if not (place / "outputs").exists():
        measured = ("model=bert_tiny", "compiler=eager", *BRIEF)
        for arguments in (measured, *(one for one in VIEWS if one[:2] == ("store", "import"))):
            code, printed = typed(arguments, place)
            assert code == 0, printed
    return place


def brief(arguments):
    """A measurement or a comparison for a test: of small models, and short."""
    if measures(arguments):
        return cheaper(arguments)
    return [*arguments, *(["--turns", "3"] if arguments[0] == "compare" else [])]


@pytest.mark.real
@pytest.mark.parametrize(
    "arguments",
    RUNS,
    ids=shlex.join,
)
def test_a_run_of_the_guides_works(typed, tmp_path, compile_cache_of_all, arguments):
    compile_cache_of_all.mkdir(exist_ok=True)
    (tmp_path / "compile_cache").symlink_to(compile_cache_of_all)
    code, printed = typed(brief(arguments), tmp_path)
    assert code in {0, FINDINGS.get(arguments[0], 0) if arguments else 0}, printed


@pytest.mark.real
@pytest.mark.parametrize("arguments", VIEWS, ids=shlex.join)
def test_a_view_of_the_guides_works(typed, rows, arguments):
    code, printed = typed(arguments, rows)
    assert code in {0, FINDINGS.get(arguments[0], 0)}, printed


@pytest.mark.real
def test_the_model_of_the_recipe_works_from_its_one_yaml(typed, tmp_path):
    recipe = r"^```yaml\n# conf/model/(\w+)\.yaml\n(.*?)^```"
    ((name, yaml),) = re.findall(recipe, "".join(map(text_of, GUIDES)), re.DOTALL | re.MULTILINE)
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    (folder / f"{name}.yaml").write_text(yaml)
    arguments = (
        f"hydra.searchpath=[file://{tmp_path}/mine]",
        f"model={name}",
        "compiler=openvino",
        "sampling=quick",
        "sampling.repeats=1",
        "sampling.min_calls=3",
        "sampling.max_s=3",
    )
    code, printed = typed(arguments, tmp_path)
    assert code == 0, printed
    assert f"{name} cpu openvino none b1 px224: ok" in printed

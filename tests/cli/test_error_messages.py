"""Whatever is wrong on the command line costs one or two lines, exit code 1, and no row."""

from __future__ import annotations

import re

import pytest

from benchmark import __main__ as program
from benchmark.cli import error_messages
from benchmark.cli.error_messages import sentence
from benchmark.config.folder import CONF
from benchmark.errors import ConfigError

SIMULATED = "hardware=simulated"


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("model=brt", "did you mean 'bert'? known: albert, albert_tiny, "),
        ("hardware=simulatd", "did you mean 'simulated'? known: cpu, cuda, "),
        ("compiler=zzz", "known: aot_inductor, eager, "),
        ("experiment=zzz", "known: "),
    ],
)
def test_an_unknown_name_is_said_with_the_nearest_and_all_known_ones(outcome_text, override, hint):
    group = override.partition("=")[0]
    assert outcome_text(override).startswith(f"{override}: there is no such {group}; {hint}")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("btach=2", "btach: unknown key; did you mean 'batch'?"),
        ("zzz=1", "zzz: unknown key; `python -m benchmark --cfg job` shows every key"),
    ],
)
def test_an_unknown_key_is_said_with_the_nearest(outcome_text, override, expected):
    assert outcome_text(override) == expected


def test_several_mistakes_take_two_lines(outcome_text):
    assert outcome_text(SIMULATED, "batch=two", "seq_len=0", "compiler.fast_math=bf16").splitlines() == [
        "compiler.fast_math=bf16: should be 'none', 'matmult' or 'all'",
        "batch=two: should be a valid integer; seq_len=0: should be greater than 0",
    ]


def test_a_request_of_which_nothing_can_ever_run_is_a_mistake(outcome_text):
    message = outcome_text(SIMULATED, "seq_len=1000000")
    assert message == "model=bert_tiny: seq_len=1000000 is above its max_position_embeddings 512"


@pytest.mark.parametrize("override", ["batch=[1", "'", "a b", "{", "batch=1,2]"])
def test_what_cannot_be_read_as_an_override_is_said_how_one_is_written(outcome_text, override):
    assert outcome_text(override).startswith(f"{override}: can't be read as an override: write key=value, ")


def test_several_values_need_a_grid(outcome_text):
    message = outcome_text(SIMULATED, "batch=1,2")
    assert message == "batch=1,2 names several values: add -m to run the grid of them"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["+model=vit"], "model: has a value already: leave out the + before model="),
        (["hydra.mode=zzz"], "hydra.mode=zzz: Invalid value 'zzz', expected one of [RUN, MULTIRUN]"),
        (["=3"], "Config group override must be a string"),
        (["hydra.job.env_copy=[NOT_SET]"], "hydra.job.env_copy: the variable NOT_SET is not set here"),
        (["-m", "hydra/launcher=joblip"], "hydra/launcher=joblip: there is no such hydra/launcher; did you"),
        (["--config-dir", "absent"], "Additional config directory "),
        (["--resolve"], "The --resolve flag can only be used"),
    ],
)
def test_what_hydra_refuses_is_said_in_a_line(outcome_text, arguments, expected):
    assert outcome_text(*arguments).startswith(expected)


def test_an_unknown_flag_is_exit_code_1_like_any_other_mistake(main):
    code, lines = main("--bogus")
    assert (code, lines) == (1, ["error: --bogus: there is no such flag; --hydra-help lists them"])


def test_a_folder_that_cannot_be_made_is_said_with_the_keys_that_change_it(outcome_text, tmp_path):
    (tmp_path / "a file").write_text("in the way")
    message = outcome_text(SIMULATED, f"output_folder='{tmp_path}/a file/below'")
    assert message.startswith(
        f"{tmp_path}/a file/below: Not a directory: choose another folder with output_folder="
    )


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (
            ["pair=[{batch:[1]}]"],
            "pair: works only in a grid: add -m, or hydra.mode: MULTIRUN",
        ),
        (
            ["-m", "hydra/sweeper=basic", "include=[{batch:1}]"],
            "include: works only in a grid .*leave out hydra/sweeper=",
        ),
    ],
)
def test_a_grid_s_algebra_is_refused_where_nothing_reads_it(outcome_text, arguments, advice):
    assert re.match(advice, outcome_text(*arguments, SIMULATED))


def test_under_a_stock_sweeper_and_launcher_too(main):
    code, lines = main("-m", "hydra/sweeper=basic", "hydra/launcher=basic", "exclude=[{batch:1}]", SIMULATED)
    assert code == 1
    assert any("exclude: works only in a grid with this project's sweeper" in line for line in lines)


@pytest.fixture
def own_model(tmp_path):
    """Write a model's YAML into a folder of one's own; return the flags that find it."""

    def written(text):
        folder = tmp_path / "mine" / "model"
        folder.mkdir(parents=True)
        (folder / "own.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return SIMULATED, f"hydra.searchpath=[file://{tmp_path}/mine]", "model=own"

    return written


def test_a_yaml_with_a_tab_is_said_with_its_place(outcome_text, own_model, tmp_path):
    message = outcome_text(*own_model("name: own\n\tparameters: 1\n"))
    assert message.startswith(f"{tmp_path}/mine/model/own.yaml, line 2, column 1: found character '\\t'")
    assert message.endswith("indent with spaces, YAML allows no tabs")


def test_a_yaml_of_a_wrong_type_is_said_with_the_full_key(outcome_text, own_model):
    text = (CONF / "model" / "bert_tiny.yaml").read_text()
    assert "text_classification: 4386178" in text
    message = outcome_text(
        *own_model(text.replace("text_classification: 4386178", "text_classification: many"))
    )
    assert message == "model.parameters.text_classification=many: should be a valid integer"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2\n", "own.yaml, line 2, column 1: found duplicate key a"),
        ("[1, 2", "own.yaml, line 1, column 6: expected ',' or ']'"),
        (b"name: caf\xe9\n", "a YAML file is not UTF-8: "),
    ],
)
def test_a_yaml_that_is_none_is_said_in_two_lines_at_most(outcome_text, own_model, text, expected):
    assert expected in outcome_text(*own_model(text))


def test_a_bug_keeps_its_traceback(main, monkeypatch):
    monkeypatch.setattr(program, "run", lambda: {}["a key that a programmer forgot"])
    with pytest.raises(KeyError):
        main()


def test_a_value_error_of_ours_keeps_its_traceback(main, monkeypatch):
    monkeypatch.setattr(program, "run", lambda: int("three"))
    with pytest.raises(ValueError, match="invalid literal"):
        main()


def test_whoever_asks_for_tracebacks_gets_them(main, monkeypatch):
    def refused():
        raise ConfigError("batch=0: should be greater than 0")

    monkeypatch.setattr(program, "run", refused)
    assert main() == (1, ["error: batch=0: should be greater than 0"])
    monkeypatch.setattr(error_messages, "TRACEBACKS", True)
    with pytest.raises(ConfigError):
        main()


def test_an_interrupt_before_the_grid_is_exit_code_130(main, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "run", interrupted)
    assert main() == (130, ["interrupted"])


def test_a_sentence_has_two_lines_at_most():
    assert sentence(ConfigError("one")) == "one"
    assert sentence(ConfigError("one\ntwo")) == "one\ntwo"
    assert sentence(ConfigError("one\ntwo\nthree")) == "one\ntwo; three"
    assert sentence(ConfigError()) == "ConfigError"
    assert sentence(FileNotFoundError(2, "No such file", "x")).startswith(
        "x: No such file: choose another folder"
    )

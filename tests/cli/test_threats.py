"""The attacks that the table in compile_cache/README.md lists: none succeeds, and each has its test here."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pandas as pd
import pytest

from benchmark import axes
from benchmark.__main__ import run_verb
from benchmark.analysis import nights
from benchmark.bucket.objects import Bucket
from benchmark.cache import trust
from benchmark.cache.compile_cache import CompileCache
from benchmark.cli import error_messages, price_options, replay
from benchmark.cli.terminal_log import PlainFormatter
from benchmark.config.folder import CONF, load_object, read
from benchmark.config.sweep import grid
from benchmark.errors import CacheError, ConfigError
from benchmark.host import machine
from benchmark.paths import CampaignPaths, StorePaths
from benchmark.pipeline.budget import BudgetTracker
from benchmark.pipeline.progress import GridProgress
from benchmark.published.documents import Document, Importer
from benchmark.records import Row
from benchmark.redaction import HIDDEN
from benchmark.sealed import opened, sealed
from benchmark.stages.plan import plan
from benchmark.store import sql
from benchmark.store.results import ResultsStore
from tests.report.rows import made, store_of

TABLE = Path(__file__).parents[2] / "compile_cache" / "README.md"
CODES = "\x1b]0;title\x07\x1b[2J\x9b31mred\u202egnp.exe\u2066x"
SECRET = "hf_" + "a1B2" * 8
KINDS_OF_RUN = ("single", "grid", "basic")
ONE_CELL = ("hardware=simulated", "sampling=quick", "sampling.repeats=1")


def lines_of_table():
    """First column of the table of attacks."""
    text = TABLE.read_text(encoding="utf-8").partition("| attack |")[2].partition("\n\n")[0]
    return [line.split("|")[1].strip() for line in text.splitlines()[2:]]


def test_each_line_of_the_table_has_a_test_and_each_test_a_line():
    named = [
        "test_" + re.sub(r"\W+", "_", line.replace("`", "").lower()).strip("_") for line in lines_of_table()
    ]
    here = [name for name in globals() if name.startswith("test_") and "each_line_of_the_table" not in name]
    assert len(named) >= 30
    assert sorted(named) == sorted(here)


@pytest.fixture
def marker(tmp_path):
    """A file that code of an attacker would leave, and a module with such code on the path."""
    module = tmp_path / "evil_module.py"
    file = tmp_path / "pwned"
    module.write_text(
        f"open({str(file)!r}, 'w')\ndef run(*a, **k): open({str(file)!r}, 'w')\nclass Thing: pass\n"
    )
    sys.path.insert(0, str(tmp_path))
    yield file
    sys.path.remove(str(tmp_path))
    sys.modules.pop("evil_module", None)
    assert not file.exists()


@pytest.fixture
def verb(tmp_path, monkeypatch, capsys):
    """Type a verb in tmp_path; return its exit code, what it printed, and its error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(error_messages, "TRACEBACKS", False)

    def typed(*words):
        monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, words)])
        with pytest.raises(SystemExit) as stopped, error_messages.explained():
            run_verb()
        printed = capsys.readouterr()
        return SimpleNamespace(code=stopped.value.code, out=printed.out, err=printed.err)

    return typed


# -- the compile cache


@pytest.fixture
def cache(tmp_path):
    """A cache with one artefact, opened anew."""
    opened = CompileCache(tmp_path / "cache")
    opened.prepare()
    add(opened)
    return CompileCache(tmp_path / "cache")


def add(opened):
    def build(folder):
        (folder / "model.so").write_text("code")
        return {}

    return opened.get_or_build("artifact", {"a": 1}, build)


def refused(cache, words):
    for action in (cache.prepare, lambda: add(cache)):
        with pytest.raises(CacheError, match=words) as error:
            action()
        assert "cache trust" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_cache_folder_of_another_user(cache, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    owner = os.getuid() or None
    if owner is None:  # what root wrote is trusted by everyone
        os.chown(cache.root, 4243, -1)
    refused(cache, "belongs to ")


def test_a_cache_folder_that_everyone_can_write(cache):
    cache.root.chmod(0o777)
    refused(cache, "is writable by everyone")


def test_a_cache_folder_that_a_group_can_write(cache, monkeypatch):
    cache.root.chmod(0o775)
    monkeypatch.setattr(trust, "_is_private", lambda _: False)
    refused(cache, "is writable by the group")


def test_a_file_in_an_entry_that_everyone_can_write(cache):
    add(cache).folder.joinpath("model.so").chmod(0o666)
    assert not add(CompileCache(cache.root)).hit


def test_a_mark_of_trust_that_another_user_wrote(cache):
    trust.mark(cache.root)
    cache.root.chmod(0o777)
    assert add(CompileCache(cache.root)).hit  # the mark counts
    trust.trusted_caches().chmod(0o666)
    refused(CompileCache(cache.root), "is writable by everyone")
    trust.trusted_caches().unlink()


def test_a_umask_that_lets_everyone_write_new_artefacts(tmp_path):
    before = os.umask(0)
    try:
        opened = CompileCache(tmp_path / "new" / "cache")
        opened.prepare()
        entry = add(opened)
    finally:
        os.umask(before)
    assert [
        path for path in (opened.root, entry.folder, *entry.folder.iterdir()) if path.stat().st_mode & 0o022
    ] == []


# -- a model's folder


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


@pytest.mark.real
def test_code_beside_the_weights_of_a_model(weights, marker):
    from benchmark.models import networks

    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil_module.Thing"}}
    (weights / "config.json").write_text(json.dumps(config))
    (weights / "evil_module.py").write_text((marker.parent / "evil_module.py").read_text())
    with pytest.raises(ValueError, match="trust_remote_code"):
        networks.read_network("AutoModel", weights)


@pytest.mark.real
def test_pickled_weights_that_run_code(weights, marker):
    import torch

    from benchmark.models import networks

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    (weights / "config.json").write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 1}))
    torch.save({"a": Evil()}, weights / "pytorch_model.bin")
    with pytest.raises(Exception, match=r"(?i)weights.only|unsupported|safe"):
        networks.read_network("AutoModel", weights)


# -- files that are imported


def imported(tmp_path, text, kind=Document):
    file = tmp_path / "theirs.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_object(file, kind)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_imported_yaml_whose_target_is_a_function(tmp_path, marker):
    assert "is no registered plug-in" in imported(tmp_path, "_target_: evil_module.run\n")
    assert "is no registered plug-in" in imported(
        tmp_path, f"_target_: os.mkdir\n_args_: [{marker}]\n".replace("_args_", "path")
    )


def test_a_format_whose_target_is_a_function(verb, tmp_path, marker):
    (tmp_path / "f.yaml").write_text("_target_: evil_module.Thing\n")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    ran = verb("store", "import", "a.csv", "--format", "f.yaml", "--store", "s")
    assert ran.code == 1
    assert "is no registered plug-in" in ran.err


def test_a_target_deep_in_a_field_of_an_imported_yaml(tmp_path, marker):
    text = "_target_: benchmark.importers.tidy.Tidy\nwords: {a: {b: {_target_: evil_module.run}}}\n"
    assert "words.a.b._target_: a plug-in is named by" in imported(tmp_path, text, Importer)


def test_arguments_and_partial_calls_in_an_imported_yaml(tmp_path):
    for key in ("_args_: [1]", "_partial_: true", "_recursive_: true"):
        text = f"_target_: benchmark.importers.tidy.Tidy\n{key}\n"
        assert "a plug-in is named by" in imported(tmp_path, text, Importer)


def test_a_function_that_a_module_of_a_plug_in_imports(tmp_path, marker):
    for target in (
        "benchmark.importers.tidy.json.loads",
        "benchmark.importers.tidy.Path",
        "benchmark.compilers.inductor.shutil.rmtree",
    ):
        said = imported(tmp_path, f"_target_: {target}\npath: {marker}\n", Importer)
        assert "is no class of a plug-in" in said or "cannot be imported" in said


def test_a_tag_of_python_in_an_imported_yaml(tmp_path, marker):
    said = imported(tmp_path, f"!!python/object/apply:os.system ['touch {marker}']\n")
    assert "could not determine a constructor" in said


def test_an_imported_yaml_that_reads_an_environment_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVATE_THING", "hush")
    text = "_target_: benchmark.importers.neuron_docs.NeuronDocs\nhardware: ${oc.env:PRIVATE_THING}\n"
    said = imported(tmp_path, text, Importer)
    assert "interpolations are not read here" in said
    assert "hush" not in said


# -- reports


@pytest.fixture
def their_report(tmp_path, monkeypatch):
    """Compose a report of a stranger's folder."""

    def composed(text):
        (tmp_path / "conf" / "report").mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / "report" / "theirs.yaml").write_text(text)
        place = f"hydra.searchpath=[file://{tmp_path}/conf]"
        with pytest.raises(ConfigError) as error:
            price_options.composed("report_config", [place, "report=theirs"])
        return str(error.value)

    return composed


def test_a_report_that_reads_an_environment_variable(their_report, monkeypatch):
    monkeypatch.setenv("PRIVATE_THING", "hush")
    said = their_report("name: theirs\ntitle: ${oc.env:PRIVATE_THING}\nsections: []\n")
    assert "interpolations are not read here" in said
    assert "hush" not in said


def test_a_report_whose_query_reads_a_file(tmp_path):
    store = store_of(tmp_path / "s", {})
    for query in ("select * from read_text('/etc/hostname')", "select * from read_csv('/etc/passwd')"):
        with pytest.raises(ConfigError, match="a query reads stored rows only"):
            made(store, {"views": {"v": query}, "sections": []})


# -- configurations


def experiment(tmp_path, text):
    folder = tmp_path / "theirs" / "experiment"
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text(f"# @package _global_\n{text}")
    return ("experiment=evil", f"hydra.searchpath=[file://{tmp_path}/theirs]", *ONE_CELL)


@pytest.mark.parametrize("multirun", [[], ["-m"]])
@pytest.mark.parametrize(
    "call",
    [
        "_target_: evil_module.run",
        "_target_: hydra.experimental.callbacks.logging.os.system, command: touch {marker}",
        "_target_: benchmark.compilers.inductor.os.mkdir, path: {marker}",
    ],
)
def test_an_experiment_with_a_callback_of_its_own(main, tmp_path, marker, multirun, call):
    words = experiment(tmp_path, f"hydra: {{callbacks: {{evil: {{{call.format(marker=marker)}}}}}}}")
    code, lines = main(*multirun, *words)
    assert code == 1
    assert lines[0].startswith("error: hydra.callbacks.evil._target_=")
    assert "is no registered plug-in" in lines[0] or "cannot be imported" in lines[0]


def test_an_experiment_whose_launcher_names_a_function(main, tmp_path, marker):
    words = experiment(tmp_path, "hydra: {launcher: {options: {_target_: evil_module.run}}}")
    code, lines = main("-m", *words)
    assert code == 1
    assert lines[0].startswith("error: hydra.launcher.options._target_: a plug-in is named by")


@pytest.mark.parametrize("section", ["job_logging", "hydra_logging"])
@pytest.mark.parametrize(
    "call",
    [
        "(): evil_module.run",
        "class: logging.os.system, command: touch {marker}",
        "class: logging.handlers.QueueHandler, queue: evil_module.run",
        "class: logging.StreamHandler, stream: ext://evil_module.Thing",
    ],
)
def test_an_experiment_whose_log_calls_a_function(main, tmp_path, marker, section, call):
    handler = f"{{handlers: {{evil: {{{call.format(marker=marker)}}}}}, root: {{handlers: [evil]}}}}"
    code, lines = main(*experiment(tmp_path, f"hydra: {{{section}: {handler}}}"))
    assert code == 1
    assert lines[0].startswith(f"error: hydra.{section}.handlers.evil.")


@pytest.mark.parametrize("place", ["/threat_x", "${hydra.runtime.output_dir}/../../x", "${oc.env:HOME}/.x"])
def test_an_experiment_whose_log_goes_elsewhere(main, tmp_path, place):
    handler = f"{{handlers: {{file: {{filename: '{place}'}}}}}}"
    code, lines = main(*experiment(tmp_path, f"hydra: {{job_logging: {handler}}}"))
    assert code == 1
    assert lines[0].startswith("error: hydra.job_logging.handlers.file.filename=")
    assert outside(tmp_path) == []


def test_a_compiler_whose_class_is_not_registered(main, tmp_path, marker):
    words = experiment(tmp_path, "compiler: {_target_: evil_module.Thing}")
    code, lines = main(*words)
    assert code == 1
    assert lines[0].startswith("error: compiler._target_=evil_module.Thing: is no registered plug-in")


def test_a_target_deep_in_a_field_of_a_configuration(main, tmp_path, marker):
    words = experiment(tmp_path, "model: {architecture: {pooler: {_target_: evil_module.run}}}")
    code, lines = main(*words)
    assert code == 1
    assert lines[0].startswith("error: model.architecture.pooler._target_: a plug-in is named by")


# -- rows that are replayed


@pytest.fixture(scope="module")
def today():
    return grid(["hardware=simulated"])


@pytest.fixture
def replayed(today, monkeypatch):
    """What `replay` makes of a row whose configuration was changed."""
    monkeypatch.setattr(replay, "grid", lambda _: today)
    (base,) = today
    usual = {"run_id": "abcdef", "campaign": "theirs", "overrides": [], "hostname": "here"}

    def configured(change, *, trust=False, **values):
        config = json.loads(base.resolved)
        for key, value in change.items():
            *path, last = key.split(".")
            section = config
            for part in path:
                section = section[part]
            section[last] = value
        row = Row(values={**usual, "config": json.dumps(config), **values})
        return replay.configured_as(row, "mine", "s", "", trust=trust)

    return configured


def untrusted(replayed, words, change, **values):
    with pytest.raises(ConfigError, match=re.escape(words)) as error:
        replayed(change, **values)
    assert str(error.value).endswith("add --trust if these are yours")
    assert "\n" not in str(error.value)


def test_a_row_that_names_an_interpreter(replayed):
    untrusted(replayed, "compiler.python=/elsewhere/py", {"compiler.python": "/elsewhere/py"})
    untrusted(replayed, "compiler.python=python3.9", {"compiler.python": "python3.9"})
    untrusted(replayed, "hardware.python=../py", {"hardware.python": "../py"})


def test_a_row_that_names_a_library_to_preload(replayed):
    variables = {"environment_variables": [("LD_PRELOAD", "/elsewhere/evil.so")]}
    untrusted(replayed, "LD_PRELOAD=/elsewhere/evil.so", {}, **variables)
    assert replayed({}, trust=True, **variables).environment == {"LD_PRELOAD": "/elsewhere/evil.so"}


def test_a_row_that_names_other_variables(replayed):
    for name, value in {
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        "OMP_TOOL_LIBRARIES": "evil.so",
        "PYTHONPATH": "/elsewhere",
        "OMP_PLACES": "/etc/passwd",
    }.items():
        untrusted(replayed, f"{name}={value}", {}, environment_variables=[(name, value)])
    harmless = {"OMP_NUM_THREADS": "2"}
    assert replayed({}, environment_variables=[*harmless.items()]).environment == harmless


def test_a_row_that_names_a_folder_of_weights(replayed):
    untrusted(replayed, "weights=evil", {"weights": "evil"})
    untrusted(
        replayed, "model.hub_id=/elsewhere/evil", {"weights": "pretrained", "model.hub_id": "/elsewhere/evil"}
    )


def test_a_row_that_names_a_compile_cache(replayed):
    untrusted(replayed, "cache.root=/elsewhere/evil", {"cache.root": "/elsewhere/evil"})


def test_a_row_that_names_a_remote_cache(replayed):
    untrusted(replayed, "cache.remote=s3://evil/cache", {"cache.remote": "s3://evil/cache"})


def test_a_row_that_names_a_class(replayed, marker):
    for trust_it in (False, True):
        with pytest.raises(ConfigError, match="is no registered plug-in"):
            replayed({"compiler._target_": "evil_module.Thing"}, trust=trust_it)


def test_a_row_that_reads_an_environment_variable(replayed, monkeypatch):
    monkeypatch.setenv("PRIVATE_THING", "hush")
    experiment = replayed({"hardware.name": "${oc.env:PRIVATE_THING}"})
    assert experiment.hardware.name == "${oc.env:PRIVATE_THING}"


# -- buckets


@pytest.fixture
def shared(bucket, tmp_path):
    """Build an entry on one host, let an attacker change the bucket, and ask another host for it."""
    address = f"{bucket}/team/cache"

    def asked(attack, **made_of):
        def build(folder):
            (folder / "model.so").write_bytes(b"code")
            return {}

        CompileCache(tmp_path / "a", address).get_or_build("artifact", made_of, build)
        attack(Bucket(address))
        entry = CompileCache(tmp_path / "b", address).get_or_build("artifact", made_of, build)
        assert not entry.hit
        assert (entry.folder / "model.so").read_bytes() == b"code"

    return asked


def test_a_changed_file_in_a_bucket(shared, caplog):
    def attack(objects):
        (file,) = objects.listed("team/cache/files")
        objects.put(file.key, b"evil")

    shared(attack)
    assert "model.so is not the file that its manifest names" in caplog.text


def test_a_path_in_a_bucket_that_leaves_its_entry(shared, caplog, tmp_path):
    def attack(objects):
        (entry,) = objects.listed("team/cache/entries")
        manifest = opened(objects.get(entry.key).data)
        manifest["files"]["../../evil"] = manifest["files"].pop("model.so")
        objects.put(entry.key, sealed(manifest))

    shared(attack)
    assert "'../../evil' leads out of the entry" in caplog.text
    assert not [*tmp_path.rglob("evil")]


def test_a_pickle_in_a_bucket(shared, caplog):
    shared(lambda _: None, pickled=True)
    assert "torch unpickles it, which can run any code" in caplog.text


# -- queries


def queried(verb, tmp_path, query):
    store_of(tmp_path / "s", {})
    ran = verb("results", "--store", "s", "--sql", query)
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 1
    return ran.err


def test_a_query_that_reads_a_file(verb, tmp_path):
    said = queried(verb, tmp_path, "select * from read_text('/etc/hostname')")
    assert said.startswith("error: --sql: a query reads stored rows only, no files, settings or extensions: ")


def test_a_query_that_writes_a_file(verb, tmp_path):
    assert "a query reads stored rows only" in queried(
        verb, tmp_path, f"copy results to '{tmp_path}/out.csv'"
    )
    assert not (tmp_path / "out.csv").exists()


def test_a_query_that_attaches_a_database(verb, tmp_path):
    assert "a query reads stored rows only" in queried(verb, tmp_path, f"attach '{tmp_path}/out.db'")
    assert not (tmp_path / "out.db").exists()


def test_a_query_that_loads_an_extension(verb, tmp_path):
    for query in ("install httpfs", "load httpfs"):
        assert "a query reads stored rows only" in queried(verb, tmp_path, query)


def test_a_query_that_opens_what_was_closed(verb, tmp_path):
    for setting in (
        "enable_external_access=true",
        "lock_configuration=false",
        "python_enable_replacements=true",
    ):
        assert "a query reads stored rows only" in queried(verb, tmp_path, f"set {setting}")


def test_a_query_that_reads_a_variable_of_the_program():
    private = pd.DataFrame({"a": [1]})  # noqa: F841 - DuckDB would find it by its name
    with (
        sql.connected("") as connection,
        pytest.raises(duckdb.CatalogException, match="private does not exist"),
    ):
        connection.sql("select * from private")


# -- texts on the terminal and in tables


@pytest.fixture
def hostile(tmp_path):
    """A store in which each text holds terminal codes, markup and formulas."""
    texts = {"model": f"=cmd|'/C calc'!A0{CODES}", "hardware": f"@sum{CODES}", "compiler": f"+1{CODES}"}
    failed = {"status": "crashed", "stage": "measure", "error": f"-2+3{CODES}\n<b>", "latency_p50_ms": None}
    others = {"cpu_model": CODES, "os": CODES, "device_name": CODES, "command": CODES, "config": "{}"}
    rows = [
        {**texts, **others, "campaign": campaign, "repeat": repeat, "cell_id": "cell"}
        for campaign in (f"a{CODES}", f"b{CODES}")
        for repeat in (1, 2)
    ]
    store_of(tmp_path / "s", *rows, {**texts, **others, **failed})
    return "s"


def harmless(text):
    allowed = text.replace("\n", "")
    assert [one for one in allowed if not one.isprintable()] == []


@pytest.mark.parametrize(
    "words",
    [
        ["results"],
        ["results", "--all-columns"],
        ["results", "--columns", "model,error,cpu_model"],
        ["results", "--md"],
        ["results", "--sql", "select model, error from results"],
        ["matrix"],
        ["matrix", "--md"],
        ["explain", "run00001"],
        ["lint"],
        ["best", "--p95-ms", "100"],
        ["best", "--p95-ms", "100", "--md"],
        ["compare", f"a{CODES}", f"b{CODES}"],
        ["compare", f"a{CODES}", f"b{CODES}", "--md", "-"],
        ["compare", "nothing", f"b{CODES}"],
        ["nightly", "check"],
        ["report", "overview"],
        ["report", "overview", "--md"],
        ["replay", "run00001"],
        ["replay", f"run{CODES}"],
    ],
    ids=lambda words: " ".join(words).encode("ascii", "replace").decode()[:30],
)
def test_terminal_codes_in_a_row(verb, hostile, words):
    ran = verb(*words, "--store", hostile)
    assert ran.out or ran.err
    harmless(ran.out + ran.err)


def test_terminal_codes_in_the_manifest_of_a_cache(verb, tmp_path):
    opened = CompileCache(tmp_path / "cache")
    opened.prepare()
    opened.get_or_build("artifact", {"a": 1}, lambda _: {"label": f"model{CODES}"})
    ran = verb("cache", "ls", "--cache", tmp_path / "cache")
    assert "model" in ran.out
    harmless(ran.out)


def test_terminal_codes_in_the_state_of_a_grid(verb, tmp_path):
    moment = "2026-01-01T00:00:00+00:00"
    state = dict.fromkeys(("finished", "remaining", "cells", "done_before", "pid"), 1)
    state |= {"state": "done", "campaign": CODES, "hostname": CODES, "statuses": {"ok": 1}, "busy": []}
    state |= {
        "updated_at": moment,
        "eta_s": None,
        "hours": 1,
        "usd": None,
        "budget_hours": None,
        "budget_usd": None,
    }
    state["last_failures"] = [f"crashed {CODES}"]
    (tmp_path / "outputs" / "c").mkdir(parents=True)
    (tmp_path / "outputs" / "c" / "progress-h-1.json").write_text(json.dumps(state))
    ran = verb("status", "--outputs", "outputs")
    assert "crashed" in ran.out
    harmless(ran.out)


def test_terminal_codes_in_the_name_of_a_file_of_rows(command, tmp_path):
    store_of(tmp_path / "s", {})
    (tmp_path / "s" / "part-\x1b[2Jx.parquet").write_text("damaged")
    ran = command("results", "--store", "s")
    assert "part-x.parquet is not read" in ran.stderr
    harmless(ran.stdout + ran.stderr)


def test_a_formula_in_a_row(verb, hostile, tmp_path):
    printed = verb("results", "--csv", "--store", hostile).out
    harmless(printed)
    verb("store", "export", "rows.csv", "--store", hostile)
    for text in (printed, (tmp_path / "rows.csv").read_text(encoding="utf-8")):
        cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
        assert "'=cmd|'/C calc'!A0redgnp.exex" in cells
        assert [cell for cell in cells if cell[:1] in {*"=+@\t\r"} or re.match(r"-\D|-2\+", cell)] == []
        assert "\x1b" not in text


def test_a_formula_as_the_name_of_a_column(verb, hostile):
    head = verb("results", "--csv", "--store", hostile, "--sql", 'select 1 as "=cmd()"').out.splitlines()[0]
    assert head == "'=cmd()"


# -- names of folders


BAD_NAMES = {
    "up": "../../x",
    "absolute": "/threat_x",
    "nul": "a\0b",
    "newline": "a\nb",
    "long": "a" * 121,
    "dots": "..",
}


def outside(tmp_path):
    """What a command left outside its outputs folder."""
    return [path for path in (tmp_path.parent / "x", Path("/threat_x"), tmp_path / "x") if path.exists()]


@pytest.mark.parametrize("multirun", [[], ["-m"], ["-m", "hydra/launcher=basic"]], ids=KINDS_OF_RUN)
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_campaign_that_leads_elsewhere(main, tmp_path, name, multirun):
    code, lines = main(*multirun, f"campaign='{BAD_NAMES[name]}'", *ONE_CELL)
    assert code == 1
    assert lines[0].startswith("error: campaign=")
    assert outside(tmp_path) == []
    assert not (tmp_path / "outputs").exists()


def test_a_campaign_in_a_pair_that_leads_elsewhere(main, tmp_path):
    for launcher in ([], ["hydra/launcher=basic"]):
        pair = "pair=[{campaign: ['../../x', b], seed: [1, 2]}]"
        code, lines = main("-m", pair, *launcher, *ONE_CELL)
        assert code == 1, lines
        assert lines[0].startswith("error: campaign=../../x")
        assert outside(tmp_path) == []


def test_a_campaign_in_an_experiment_that_leads_elsewhere(main, tmp_path):
    code, lines = main(*experiment(tmp_path, "campaign: ../../x"))
    assert code == 1
    assert lines[0].startswith("error: campaign=../../x")
    assert outside(tmp_path) == []


@pytest.mark.parametrize("key", ["hydra.sweep.dir", "hydra.run.dir", "hydra.sweep.subdir"])
def test_a_folder_of_hydra_that_leads_elsewhere(main, tmp_path, key):
    for folder in ("outputs/../../x", "outputs/a\nb", "outputs/" + "a" * 256):
        code, lines = main("-m", "batch=1,2", f"{key}='{folder}'", *ONE_CELL)
        assert code == 1
        assert lines[0].startswith(f"error: {key}=")
        assert outside(tmp_path) == []


def test_a_campaign_of_stored_rows_as_the_name_of_a_file(tmp_path):
    paths = StorePaths(root=tmp_path / "results")
    for name in ("../../../x", "..", "/elsewhere/x", "a/b"):
        assert paths.nightly(name).parent == paths.side / "nightly"
    assert paths.nightly("night-2026").name == "night-2026.json"
    row = pd.Series({**dict.fromkeys(axes.USUAL), "model": "../../x", "cell_id": "../../x"})
    assert nights.stem(row) == "x-x"


# -- secrets


def test_a_secret_in_an_environment_variable(main, tmp_path, monkeypatch):
    monkeypatch.setenv("NVIDIA_API_KEY", "short")
    monkeypatch.setenv("TORCH_PLACE", SECRET)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    code, lines = main(*ONE_CELL)
    assert code == 0, lines
    (row,) = ResultsStore(tmp_path / "outputs" / "results").table().to_pylist()
    names = dict(row["environment_variables"])
    assert names["OMP_NUM_THREADS"] == "2"
    assert {"NVIDIA_API_KEY", "TORCH_PLACE"}.isdisjoint(names)


@pytest.mark.parametrize("multirun", [[], ["-m"], ["-m", "hydra/launcher=basic"]], ids=KINDS_OF_RUN)
def test_a_secret_on_the_command_line(command, tmp_path, multirun):
    ran = command(*multirun, f"+hydra.job.env_set.MY_TOKEN={SECRET}", *ONE_CELL)
    assert ran.returncode == 0, ran.stderr
    files = [path for path in (tmp_path / "outputs").rglob("*") if path.is_file()]
    texts = {path.name: path.read_text() for path in files if path.suffix != ".parquet"}
    assert ("multirun.yaml" if multirun else "overrides.yaml") in texts
    assert [name for name, text in texts.items() if SECRET in text] == []
    (row,) = ResultsStore(tmp_path / "outputs" / "results").table().to_pylist()
    assert SECRET not in json.dumps(row, default=str)
    assert HIDDEN in row["command"]


def test_a_secret_in_the_address_of_a_store(verb):
    said = verb("results", "--store", "nowhere://ID:hush@bucket/results").err
    assert HIDDEN in said
    assert "hush" not in said


def test_a_secret_in_the_state_of_a_grid(simulated, tmp_path):
    cell = replace(simulated(), store_root="s3://ID:hush@bucket/results")
    left, places = SimpleNamespace(seconds=0.0, of=None), CampaignPaths(folder=tmp_path)
    GridProgress(plan([cell], lambda _: {}), left, BudgetTracker(cell.budget), places, {}).write("done")
    (state,) = tmp_path.glob("progress-*.json")
    assert json.loads(state.read_text())["store"] == f"s3://{HIDDEN}@bucket/results"


def test_a_secret_in_the_command_that_holds_the_host(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmark", "store.root=s3://ID:hush@bucket/r", "--api-key", "hush"])
    assert machine.command() == f"benchmark store.root=s3://{HIDDEN}@bucket/r --api-key {HIDDEN}"


def test_a_secret_in_the_log():
    formats = read(CONF / "hydra" / "job_logging" / "file.yaml")["formatters"]
    assert formats["plain"]["class"] == f"{PlainFormatter.__module__}.{PlainFormatter.__name__}"
    record = logging.makeLogRecord({"msg": "#0 : store.root=s3://ID:hush@bucket/r"})
    assert PlainFormatter().format(record) == f"#0 : store.root=s3://{HIDDEN}@bucket/r"


def test_a_secret_in_the_text_of_an_error(main, tmp_path, monkeypatch):
    from benchmark.compilers.simulated import Simulated
    from benchmark.errors import CompileFailed

    def fails(*_):
        raise CompileFailed(f"can't open s3://ID:{SECRET}/x@bucket, password=hunter2, key {SECRET}")

    monkeypatch.setattr(Simulated, "compile", fails)
    main(*ONE_CELL)
    (row,) = ResultsStore(tmp_path / "outputs" / "results").table().to_pylist()
    assert row["status"] != "ok"
    assert row["error"].count(HIDDEN) == 3
    assert "hunter2" not in row["error"]
    (state,) = (tmp_path / "outputs").rglob("progress-*.json")
    assert "hunter2" not in state.read_text()


def test_a_secret_that_an_older_version_stored(verb, tmp_path):
    kept = {"model": "token_classification", "revision": "a1" * 20}
    old = {
        "environment_variables": [("NVIDIA_API_KEY", "x"), ("OMP_NUM_THREADS", "2")],
        "error": f"x {SECRET}",
    }
    store = store_of(
        tmp_path / "s", {**kept, **old}, kept, {**kept, "campaign": "d", "command": "--password a"}
    )
    store.compact()
    before = store.table(["run_id", "environment_id", "finished_at"])
    said = verb("store", "scrub", "--store", "s").out
    assert said.startswith("hid 3 values in 1 file at s: ")
    rows = ResultsStore(tmp_path / "s").table().to_pylist()
    assert [dict(row["environment_variables"] or ()) for row in rows] == [{"OMP_NUM_THREADS": "2"}, {}, {}]
    assert (rows[0]["error"], rows[2]["command"]) == (f"x {HIDDEN}", f"--password {HIDDEN}")
    assert {row["revision"] for row in rows} == {"a1" * 20}
    assert ResultsStore(tmp_path / "s").table(["run_id", "environment_id", "finished_at"]).equals(before)
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.parquet"))
    assert verb("store", "scrub", "--store", "s").out == "no secret at s\n"

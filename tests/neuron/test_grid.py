"""Whole grids on Inferentia through stand-ins: compiled where no device is, timed where one seems to be.

Nothing of that may be taken for a measurement of the device.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from benchmark.__main__ import main
from benchmark.devices import neuron
from benchmark.store import results

pytestmark = pytest.mark.real
FAKES = Path(__file__).parents[1] / "fakes"
GRID = ("hardware=inf2", "batch=1,2,4", "compiler.fast_math=none,all")
SHORT = (
    "sampling=quick",
    *(
        f"sampling.{key}={value}"
        for key, value in {"repeats": 1, "warmup_calls": 0, "warmup_s": 0, "min_s": 0}.items()
    ),
    *(
        f"sampling.{key}={value}"
        for key, value in {"min_calls": 2, "max_calls": 3, "noise_retries": 0}.items()
    ),
)
FLAGS = {
    "none": ["--target", "inf2", "--auto-cast", "none", "--optlevel", "2", "--model-type", "generic"],
    "all": [
        *("--target", "inf2", "--auto-cast", "all", "--auto-cast-type", "bf16"),
        *("--optlevel", "2", "--model-type", "generic"),
    ],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder where outputs land, with the stand-ins at hand; `device` says whether the device is there."""
    folder = tmp_path_factory.mktemp("grid")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(FAKES))
        patch.setenv("PATH", f"{FAKES / 'environment_bin'}{os.pathsep}{os.environ['PATH']}")
        patch.setattr(neuron, "DEVICES", folder / "devices")
        yield folder


def device(folder, *, is_there):
    """Let the driver be loaded, or not."""
    entry = " 246 neuron\n" if is_there else ""
    (folder / "devices").write_text(f"Character devices:\n  1 mem\n{entry}", encoding="utf-8")


def called(*words):
    """Run the command line in this process, for the device is patched here; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["benchmark", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code


def rows(campaign):
    """What the store has of a campaign, simulated rows too."""
    return results.load(where=f"campaign={campaign} simulated=true").to_dict("records")


@pytest.fixture(scope="module")
def compiled(place):
    device(place, is_there=False)
    code = called("compile", "-m", "model=vit_tiny", "hardware=inf2", GRID[-1], *SHORT, "campaign=elsewhere")
    return code, rows("elsewhere")


@pytest.fixture(scope="module")
def timed(place, compiled):
    device(place, is_there=True)
    ends = (GRID[0], "batch=1,4", GRID[-1])
    code = called("-m", "model=vit_tiny,beit_tiny", *ends, *SHORT, "campaign=there")
    return code, rows("there")


def test_a_host_without_the_device_compiles_and_times_nothing(compiled):
    code, found = compiled
    assert code == 0
    assert len(found) == 2
    for row in found:
        assert (row["status"], row["stage"], row["cache_hit"]) == ("unavailable", "measure", False)
        assert row["error"].startswith("compiled, not timed: this host has no Neuron device")
        assert list(row["compiler_flags"]) == FLAGS[row["fast_math"]]


def test_where_the_device_is_all_answer_right_and_what_was_compiled_is_a_cache_hit(timed):
    code, found = timed
    assert code == 0
    assert {(row["model"], row["batch_size"], row["fast_math"]) for row in found} == {
        (model, batch, cast)
        for model in ("vit_tiny", "beit_tiny")
        for batch in (1, 4)
        for cast in ("none", "all")
    }
    for row in found:
        assert row["status"] == "ok", row["error"]
        assert row["cache_hit"] == (row["model"] == "vit_tiny" and row["batch_size"] == 1)
        assert row["cosine"] > (0.9999 if row["fast_math"] == "none" else 0.95)
        assert list(row["compiler_flags"]) == FLAGS[row["fast_math"]]
        dtype = {"none": "fp32", "all": "bf16"}[row["fast_math"]]
        assert (row["matmul_dtype"], row["other_dtype"]) == (dtype, dtype)
        assert (row["subgraphs"], row["neff_bytes"]) == (1, 1024)


def test_not_one_row_is_mistaken_for_the_device(compiled, timed):
    assert {row["simulated"] for row in (*compiled[1], *timed[1])} == {True}
    for row in timed[1]:
        assert dict(row["framework_versions"])["torch-neuronx"].endswith("+simulated")


def test_results_show_them_to_who_asks_for_simulated_rows_alone(timed, capsys):
    called("results", "campaign=there")
    assert "vit_tiny" not in capsys.readouterr().out
    called("results", "campaign=there", "--simulated")
    assert "vit_tiny" in capsys.readouterr().out


def test_another_campaign_finds_the_artefacts(place, timed):
    device(place, is_there=True)
    assert called("-m", "model=vit_tiny", "hardware=inf2", "batch=1,4", *SHORT, "campaign=again") == 0
    assert [(row["status"], row["cache_hit"]) for row in rows("again")] == [("ok", True)] * 2


def test_the_grid_of_the_full_models_is_laid_out_to_be_run(place, capsys):
    device(place, is_there=True)
    called("plan", "-m", "model=vit,beit", *GRID)
    printed = capsys.readouterr().out
    assert "12 cells in 96 processes at most: 12 compile" in printed


def test_on_inf1_none_is_bf16_and_the_row_says_so(place):
    device(place, is_there=True)
    words = ("model=vit_tiny", "hardware=inf1", "compiler.fast_math=none,all", "campaign=inf1")
    assert called("-m", *words, *SHORT) == 0
    found = {row["fast_math"]: row for row in rows("inf1")}
    for cast, row in found.items():
        assert (row["status"], row["simulated"]) == ("ok", True), row["error"]
        assert list(row["compiler_flags"]) == ["--fast-math", cast, "--neuroncore-pipeline-cores", "1"]
        assert row["matmul_dtype"] == "bf16"
    assert (found["none"]["other_dtype"], found["all"]["other_dtype"]) == ("fp32", "bf16")
    assert found["none"]["cosine"] < 1 - 1e-9


def calls(file):
    """Calls by process and core of the host, and the part of these calls that moved so many tensors."""
    return Counter((call["pid"], call["core"]) for call in map(json.loads, file.read_text().splitlines()))


def test_each_replica_is_a_process_on_a_core_of_its_own(place, monkeypatch, tmp_path, capsys):
    device(place, is_there=True)
    monkeypatch.setenv("FAKE_NEURON_CALLS", str(tmp_path / "calls"))
    words = ("model=vit_tiny", "hardware=inf2", "scenario=throughput", "scenario.replicas=2", *SHORT)
    assert called(*words, "campaign=two") == 0
    (row,) = rows("two")
    assert (row["status"], row["replicas"], row["cores"]) == ("ok", 2, 2), row["error"]
    assert dict(row["placement"]) == {"0/model": "0", "1/model": "1"}
    counted = calls(tmp_path / "calls")
    assert sorted(core for _, core in counted) == [0, 1]
    assert len({pid for pid, _ in counted}) == 2
    assert min(counted.values()) >= 2
    called("explain", row["run_id"])
    assert "replica 0: model on core 0; replica 1: model on core 1" in capsys.readouterr().out


def test_pipelines_sit_on_a_core_each_or_one_has_its_denoiser_on_both(place, monkeypatch, tmp_path):
    pytest.importorskip("diffusers")
    device(place, is_there=True)
    monkeypatch.setenv("FAKE_NEURON_CALLS", str(tmp_path / "calls"))
    words = ("model=sd_tiny", "steps=1", "hardware=inf2", "hardware.cores=2", "scenario=throughput")
    assert called("-m", *words, "scenario.replicas=1,2", *SHORT, "campaign=pipelines") == 0
    one, two = sorted(rows("pipelines"), key=lambda row: row["replicas"])
    assert (one["status"], two["status"]) == ("ok", "ok"), (one["error"], two["error"])
    assert dict(one["placement"]) == {"0/text_encoder": "0", "0/unet": "0-1", "0/vae_decoder": "0"}
    parts = ("text_encoder", "unet", "vae_decoder")
    assert dict(two["placement"]) == {f"{n}/{part}": str(n) for n in (0, 1) for part in parts}
    alone, *pair = Counter(pid for pid, _ in calls(tmp_path / "calls")).values()
    assert (alone, pair) == (2, [1, 1])  # cores of each process


def test_the_cache_of_a_generation_stays_on_the_device_or_the_row_says_that_it_does_not(place):
    device(place, is_there=True)
    words = ("model=t5_tiny", "hardware=inf2", "input_length=8", "output_length=4", *SHORT)
    assert called("-m", *words, "compiler.kv_cache=null,host", "campaign=cache") == 0
    found = rows("cache")
    assert sorted((row["status"], row["kv_cache"]) for row in found) == [("ok", "device"), ("ok", "host")]
    assert all(row["cosine"] > 0.9999 for row in found)
    assert dict(found[0]["placement"]) == {"0/prefill": "0", "0/decode": "0"}


@pytest.fixture
def environment_of_the_chip(tmp_path):
    """A virtual environment as `make inf2` makes it, with the stand-ins; it is not activated."""
    folder = tmp_path / "chip"
    made = [sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder)]
    subprocess.run(made, check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    libraries = sysconfig.get_paths()["purelib"]
    (site / "libraries.pth").write_text(f"{FAKES}\nimport site; site.addsitedir({libraries!r})\n")
    for script in (FAKES / "environment_bin").iterdir():
        shutil.copy(script, folder / "bin" / script.name)
    return folder / "bin"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder with the device, whose PATH has nothing of the chip's environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(neuron, "DEVICES", tmp_path / "devices")
    path = [part for part in os.environ["PATH"].split(os.pathsep) if "environment_bin" not in part]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    assert shutil.which("neuronx-cc") is None
    device(tmp_path, is_there=True)


@pytest.mark.usefixtures("elsewhere")
def test_an_environment_that_is_named_by_its_path_has_its_own_programs(environment_of_the_chip):
    python = f"hardware.python={environment_of_the_chip / 'python'}"
    words = ("model=vit_tiny,beit_tiny", "hardware=inf2", python, "batch=1,2,4")
    assert called("-m", *words, *SHORT, "campaign=named") == 0
    found = rows("named")
    assert [row["status"] for row in found] == ["ok"] * 6, [row["error"] for row in found]
    assert {row["simulated"] for row in found} == {True}


@pytest.mark.usefixtures("elsewhere")
def test_a_library_that_is_installed_and_does_not_work_is_unavailable_from_plan_on(
    environment_of_the_chip, capsys
):
    (environment_of_the_chip / "libneuronpjrt-path").unlink()
    words = ("model=vit_tiny", "hardware=inf2", f"hardware.python={environment_of_the_chip / 'python'}")
    said = ("No such file or directory: 'libneuronpjrt-path'", "-m pip install torch-neuronx")

    assert called("plan", *words, "--json") == 0
    planned = json.loads(capsys.readouterr().out.partition("\n")[0])
    assert planned["fate"] == "unavailable"
    assert called("doctor", *words[1:], "--json") == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["compiler"]}
    assert not found["neuronx"]["ready"]
    assert called(*words, *SHORT, "campaign=incomplete") == 2
    (row,) = results.load(where="campaign=incomplete").to_dict("records")
    assert row["status"] == "unavailable"
    for text in (planned["reason"], found["neuronx"]["detail"], row["error"]):
        assert all(part in text for part in said)


def test_each_network_of_a_pipeline_has_its_own_options_and_the_row_says_them(place):
    device(place, is_there=True)
    options = (
        *("+compiler.parts.unet.dtype=bf16", "+compiler.parts.unet.model_type=unet-inference"),
        *("+compiler.parts.text_encoder.fast_loading=true", "+compiler.environment.NEURON_FUSE_SOFTMAX=1"),
    )
    words = ("model=sd_tiny", "hardware=inf2", "steps=2", "campaign=parts", *options)
    assert called(*words, *SHORT) == 0
    (row,) = rows("parts")
    assert (row["status"], row["model_dtype"], row["matmul_dtype"]) == ("ok", "fp32, bf16", "fp32, bf16")
    line = "NEURON_FUSE_SOFTMAX=1 --target inf2 --auto-cast none --optlevel 2 --model-type"
    assert list(row["compiler_flags"]) == [
        f"text_encoder: {line} generic --enable-fast-loading-neuron-binaries",
        f"unet: {line} unet-inference",
        f"vae_decoder: {line} generic",
    ]
    # Without the variable it is another program.
    assert called("compile", *words[:3], "campaign=other", *options[:3], *SHORT) == 0
    assert [row["cache_hit"] for row in rows("other")] == [False]


def test_a_generation_in_bf16_keeps_its_states_too(place):
    device(place, is_there=True)
    words = ("model=t5_tiny", "hardware=inf2", "output_length=4", "input_length=8", "compiler.dtype=bf16")
    assert called(*words, *SHORT, "campaign=bf16") == 0
    (row,) = rows("bf16")
    assert (row["status"], row["model_dtype"]) == ("ok", "bf16"), row["error"]

"""The compilers behind torch.compile, through stand-ins in an environment of their own.

Each stage runs in a fresh child of that environment's interpreter, as it would on the instance.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from types import SimpleNamespace

import pytest

from benchmark.compilers.neuron_libtorch import NeuronLibtorch
from benchmark.compilers.torchneuron import TorchNeuron
from benchmark.devices import neuron
from benchmark.errors import Incompatible, Unavailable
from benchmark.store import results
from tests.neuron.test_grid import FAKES, SHORT, called, device

pytestmark = pytest.mark.real
LIBTORCH, NATIVE = "neuron_libtorch", "torchneuron"
FOLDERS = {LIBTORCH: "lite", NATIVE: "native"}


@pytest.fixture(params=[LIBTORCH, NATIVE])
def compiler(request):
    return request.param


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    """One virtual environment for each library, as they can't share one."""
    made = {}
    for compiler, fakes in FOLDERS.items():
        folder = tmp_path_factory.mktemp(compiler)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder)], check=True)
        (site,) = folder.glob("lib/python*/site-packages")
        libraries = sysconfig.get_paths()["purelib"]
        # The compiler's version is that of the stand-ins, which come first.
        for metadata in (*FAKES.glob("neuronx_cc-*"), *(FAKES / fakes).glob("*.dist-info")):
            shutil.copytree(metadata, site / metadata.name)
        paths = (FAKES / fakes, FAKES)
        (site / "libraries.pth").write_text(
            "".join(f"{path}\n" for path in paths) + f"import site; site.addsitedir({libraries!r})\n"
        )
        for script in (FAKES / "environment_bin").iterdir():
            shutil.copy(script, folder / "bin" / script.name)
        made[compiler] = folder / "bin" / "python"
    return made


@pytest.fixture
def run(environments, compiler, tmp_path, monkeypatch):
    """Run cells of a tiny BERT; return the exit code and the rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(neuron, "DEVICES", tmp_path / "devices")
    device(tmp_path, is_there=True)

    def rows(*words, verb=()):
        chosen = (f"compiler={compiler}", f"hardware.python={environments[compiler]}", "hardware=trn2")
        code = called(*verb, "-m", "model=bert_tiny", "seq_len=16", *chosen, *SHORT, *words, "campaign=here")
        return code, results.load(where="campaign=here simulated=true").to_dict("records")

    return rows


def test_what_was_compiled_before_is_what_is_timed(run):
    code, (row,) = run("compiler.fast_math=all")
    assert (code, row["status"]) == (0, "ok"), row["error"]
    assert " ".join(row["compiler_flags"]) == (
        "--auto-cast all --auto-cast-type bf16 --optlevel 2 --model-type generic -lnc 2"
    )
    assert list(row["narrowed_types"]) == ["int64 to int32"]
    assert row["neff_bytes"] == 1024
    assert row["artifact_bytes"] >= 1024
    assert 0.9 < row["cosine"] < 0.999999
    assert (row["matmul_dtype"], row["model_dtype"]) == ("bf16", "fp32")


@pytest.mark.parametrize(
    ("compiler", "how", "status", "said"),
    [
        (LIBTORCH, "fallback", "fallback", "lie on cpu"),
        (NATIVE, "fallback", "fallback", "ran on the CPU: aten::sort"),
        (NATIVE, "unsupported", "compile_error", "aten::sort has no kernel"),
    ],
    indirect=["compiler"],
)
def test_an_answer_of_the_cpu_is_no_figure_of_the_device(run, how, status, said, monkeypatch):
    monkeypatch.setenv("FAKE_NEURON_FAILURE", how)
    code, (row,) = run()
    assert (code, row["status"]) == (2, status)
    assert said in row["error"]


def test_the_native_library_is_not_asked_to_compile_without_a_device(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(os, "environ", dict(os.environ))  # it sets variables of its process
    monkeypatch.setattr(torch, "neuron", SimpleNamespace(is_available=lambda: False), raising=False)
    monkeypatch.setitem(sys.modules, "torch_neuronx", SimpleNamespace())
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.27.5334.0")
    with pytest.raises(Unavailable, match="compile on the instance"):
        TorchNeuron().compile(SimpleNamespace(target="trn2"), tmp_path)


@pytest.mark.parametrize("kind", [TorchNeuron, NeuronLibtorch])
def test_integers_are_spelled_out_where_the_compiler_takes_it(kind):
    def command(version):
        return kind().commands(None, ["model"], "trn3", {"neuronx-cc": version})["model"]

    assert command("2.27.5334.0").endswith(" -lnc 2 --native-int64 disabled --implicit-integer-downcast all")
    assert command("2.26.1.0").endswith(" -lnc 2")


def test_integers_are_narrowed_unless_they_are_native():
    import torch

    inputs = [torch.ones(1, dtype=torch.int64), torch.ones(1, dtype=torch.float64)]
    module = torch.nn.Linear(1, 1)
    assert TorchNeuron().narrowed(module, inputs) == ("float64 to float32", "int64 to int32")
    assert TorchNeuron(native_int64="enabled").narrowed(module, inputs) == ("float64 to float32",)


def test_values_that_an_older_compiler_has_no_flags_for_are_refused(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.26.1.0")
    with pytest.raises(Incompatible, match=r"need neuronx-cc 2\.27 or later, here is 2\.26\.1\.0"):
        TorchNeuron(native_int64="enabled").installed_flags(SimpleNamespace(target="trn2"))


@pytest.mark.parametrize("compiler", [LIBTORCH], indirect=True)
def test_without_a_device_a_graph_is_compiled_and_a_load_finds_it(run, monkeypatch, tmp_path):
    device(tmp_path, is_there=False)
    monkeypatch.setenv("FAKE_NEURON_DEVICE", "0")
    _, (row,) = run(verb=("compile",))
    assert row["status"] == "unavailable"
    assert row["error"].startswith("compiled, not timed")

    device(tmp_path, is_there=True)
    monkeypatch.setenv("FAKE_NEURON_DEVICE", "1")
    code, (_, row) = run()
    assert (code, row["status"], row["cache_hit"]) == (0, "ok", True), row["error"]
    assert row["cosine"] > 0.999999

"""A compiler names the operator that it lacks, for the row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmark.compilers.onnxruntime import OnnxRuntime
from benchmark.compilers.openvino import OpenVino
from benchmark.errors import LibraryMissing, UnsupportedOperator
from tests.compilers.neuron_workloads import small_workload

pytestmark = pytest.mark.real
torch = pytest.importorskip("torch")


@torch.library.custom_op("imagined::operator", mutates_args=())
def imagined(x: torch.Tensor) -> torch.Tensor:
    """No compiler translates this."""
    return x + 1


@imagined.register_fake
def _(x):
    return torch.empty_like(x)


class Imagined(torch.nn.Module):
    def forward(self, x):
        return imagined(x)


@pytest.fixture
def workload(tmp_path):
    return replace(small_workload(tmp_path), load_module=Imagined)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        (OnnxRuntime(), "torch.onnx has no translation of imagined.operator.default"),
        (OpenVino(), "openvino has no translation of imagined::operator"),
    ],
    ids=["onnxruntime", "openvino"],
)
def test_the_operator_is_named(workload, tmp_path, compiler, message):
    try:
        compiler.versions()
    except LibraryMissing as missing:
        pytest.skip(str(missing))
    folder = tmp_path / "artefact"
    folder.mkdir()
    with pytest.raises(UnsupportedOperator, match=f"^{message}$") as raised:
        compiler.compile(workload, folder)
    assert raised.value.operators == (message.rpartition(" ")[2],)

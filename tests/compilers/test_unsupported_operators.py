"""A compiler that doesn't know an operator names it, so that its row does."""

from __future__ import annotations

import pytest

from benchmark.compilers.onnxruntime import OnnxRuntime
from benchmark.compilers.openvino import OpenVino
from benchmark.errors import LibraryMissing, UnsupportedOperator
from benchmark.records import Shape, Workload

pytestmark = pytest.mark.real
torch = pytest.importorskip("torch")


@torch.library.custom_op("imagined::operator", mutates_args=())
def imagined(x: torch.Tensor) -> torch.Tensor:
    """Nobody translates this."""
    return x + 1


@imagined.register_fake
def _(x):
    return torch.empty_like(x)


class Imagined(torch.nn.Module):
    def forward(self, x):
        return imagined(x)


@pytest.fixture
def workload(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2, 2)}, tmp_path / "inputs.safetensors")
    return Workload(
        load_module=Imagined,
        input_names=("x",),
        input_shapes={"x": (2, 2)},
        input_dtypes={"x": "float32"},
        reference=tmp_path,
        weights_digest="0",
        parameters=1,
        flops_per_call=None,
        weight_bytes=None,
        padding_share=None,
        shape=Shape(batch_size=2),
        threads=None,
        torch_device="cpu",
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("compiler", "told"),
    [
        (OnnxRuntime(), "torch.onnx has no translation of imagined.operator.default"),
        (OpenVino(), "openvino has no translation of imagined::operator"),
    ],
    ids=["onnxruntime", "openvino"],
)
def test_the_operator_is_named(workload, tmp_path, compiler, told):
    try:
        compiler.versions()
    except LibraryMissing as missing:
        pytest.skip(str(missing))
    folder = tmp_path / "artefact"
    folder.mkdir()
    with pytest.raises(UnsupportedOperator, match=f"^{told}$") as raised:
        compiler.compile(workload, folder)
    assert raised.value.operators == (told.rpartition(" ")[2],)

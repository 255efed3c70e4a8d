"""Weights of an ONNX graph in four bits, for ONNX Runtime's operator MatMulNBits. Used in children only."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import Incompatible

_BLOCK = 32
"""Numbers that share a scale."""


def compressed(exported: Path) -> Path:
    """Write the graph with its matrices in int4 beside the exported one.

    Raises:
        Incompatible: it has no product with a constant matrix.
    """
    import onnx
    import onnxruntime
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    # A weight that is an embedding too is transposed in the graph: folded, it is a matrix of its own.
    folded = exported.with_name("folded.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_file_name", f"{folded.name}.data"
    )
    onnxruntime.InferenceSession(
        str(exported), options, providers=["CPUExecutionProvider"], disabled_optimizers=["MatMulAddFusion"]
    )
    quantizer = MatMulNBitsQuantizer(onnx.load(folded), bits=4, block_size=_BLOCK, is_symmetric=True)
    quantizer.process()
    graph = quantizer.model.model.graph
    if not any(node.op_type == "MatMulNBits" for node in graph.node):
        raise Incompatible(
            "quantization=int4 is for products with constant matrices, of which the graph has none: use "
            "quantization=none"
        )
    del graph.value_info[:]  # shapes of what was there before
    target = exported.with_name("int4.onnx")
    quantizer.model.save_model_to_file(str(target), use_external_data_format=True)
    return target

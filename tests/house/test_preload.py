"""Every module that a server of children is to preload exists.

The server ignores a name that can't be imported: each child would import torch by itself, for 4 s.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmark.execution.preload import preload

ROOT = Path(__file__).parents[2]
SOURCES = [*sorted((ROOT / "benchmark").rglob("*.py")), *sorted((ROOT / "tests").rglob("*.py"))]
SERVERS = {"Forkserver", "Interpreters", "set_forkserver_preload"}
"""Their arguments are modules to preload, as is whatever is assigned to these names."""
NAMES = {"preload", "CORE"}


def lists(tree):
    """Expressions that list modules to preload."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.Assign) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id in NAMES for target in targets):
                yield node.value
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in SERVERS:
                yield from node.args


def listed(source):
    """Modules in those lists, as far as they are spelled as strings."""
    if not any(name in source for name in SERVERS | NAMES):
        return set()
    nodes = (node for value in lists(ast.parse(source)) for node in ast.walk(value))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


MODULES = sorted(
    {*preload([]), *(name for file in SOURCES for name in listed(file.read_text("utf-8")))} - {"__main__"}
)


def exists(module):
    """Whether there is a file of this module; nothing is imported, for that of torch takes seconds."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    if spec is None:
        return False
    if not rest:
        return True
    path = Path(spec.submodule_search_locations[0], *rest)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_to_preload_exists(module):
    top = module.partition(".")[0]
    if top != "benchmark" and find_spec(top) is None:
        pytest.skip(f"{top} is not installed")
    assert exists(module)


def test_the_lists_are_found():
    assert {
        "benchmark.stages.build",  # execution/preload.py
        "transformers.modeling_utils",  # execution/server_connection.py
        "benchmark.timing.interleaved",  # cli/side.py
        "benchmark.execution.python39",  # execution/worker.py
        "benchmark.models.diffusion",  # a task
        "onnxruntime",  # a compiler
        "benchmark.devices.simulated",  # tests/conftest.py
    } <= set(MODULES)


@pytest.mark.parametrize("module", ["benchmark.torch_models", "benchmark.models.network", "torch._dynamos"])
def test_a_wrong_name_is_noticed(module):
    (found,) = listed(f"class Task:\n    preload: ClassVar[tuple[str, ...]] = ({module!r},)")
    assert found == module
    assert not exists(found)

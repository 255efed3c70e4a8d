"""Environment of a process that runs in another Python: its own programs come first.

Libraries call programs of their environment. `import torch_neuronx` runs `libneuronpjrt-path`, and its trace
looks `neuronx-cc` up on PATH; both lie beside the interpreter. An interpreter that is named by its path is
not activated, so its folder isn't on PATH. The standard library is all that is imported here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

NEURON_TOOLS: Final = Path("/opt/aws/neuron/bin")
"""Where aws-neuronx-tools puts neuron-ls and others."""


def environment_of(python: str, base: Mapping[str, str]) -> dict[str, str]:
    """Variables for a process of this interpreter: PATH and VIRTUAL_ENV as activation sets them.

    No link is resolved: the python of a virtual environment is one.
    """
    found = python if os.sep in python else shutil.which(python) or python
    folder = Path(os.path.abspath(found)).parent  # noqa: PTH100 - resolve() follows links
    first = [str(folder), *([str(NEURON_TOOLS)] if NEURON_TOOLS.is_dir() else [])]
    others = [part for part in base.get("PATH", os.defpath).split(os.pathsep) if part not in first]
    made = {name: value for name, value in base.items() if name not in {"PYTHONHOME", "VIRTUAL_ENV"}}
    made["PATH"] = os.pathsep.join((*first, *others))
    if (folder.parent / "pyvenv.cfg").is_file():
        made["VIRTUAL_ENV"] = str(folder.parent)
    return made

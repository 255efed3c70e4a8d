"""What torch-neuron (inf1) and torch-neuronx (inf2, trn1, trn2) share: options, flags, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

from benchmark.errors import LibraryMissing
from benchmark.host import libraries
from benchmark.neuron import compiler_logs
from benchmark.neuron.known_faults import known_fault
from benchmark.neuron.parts import PROGRAM_VARIABLES, Saturation
from benchmark.protocols import CompilerDefaults
from benchmark.records import FastMath, Names, frozen


def _of_aten(operators: tuple[str, ...]) -> tuple[str, ...]:
    if wrong := [operator for operator in operators if not operator.startswith("aten::")]:
        raise ValueError(f"{wrong[0]} is no aten::operator, such as aten::embedding")
    return operators


Operators = Annotated[Names, AfterValidator(_of_aten)]
"""Operators as torch names them, such as aten::embedding."""


@frozen
class NeuronCompiler(CompilerDefaults):
    """Options of both compilers. Each spells out every option that changes the generated code."""

    fast_math: FastMath = "none"
    """none: nothing is cast; matmult: matrix products are cast; all: everything is cast."""
    dynamic_batch: bool = False
    """Take other batch sizes too; torch-neuronx splits and pads them to the one compiled for."""
    saturate_infinity: Saturation = False
    """`--enable-saturate-infinity`: infinities become the greatest number; CLIP on inf2 needs it."""
    fast_context_switch: bool = False
    """`--enable-fast-context-switch`: some weights are loaded when a call starts."""
    fast_loading: bool = False
    """`--enable-fast-loading-neuron-binaries`: an uncompressed program, larger and faster to load."""
    python: str | None = None
    """Interpreter that builds, compiles and measures; null: the one that runs this program."""

    name: ClassVar[str]
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ()
    distributions: ClassVar[tuple[str, str]]
    """The library, whose module has the same name, and the compiler that it calls."""
    install: ClassVar[str]
    """Command that installs both."""

    def versions(self) -> Mapping[str, str]:
        """Versions of both; a stub from PyPI, or a library that can't be imported, counts as missing."""
        found = libraries.versions(*self.distributions, install=self.install, python=self.python)
        compiler_logs.refuse_stubs(found, self.install, self.python)
        libraries.imports(self._module, "trace", install=self.install, python=self.python)
        return found

    def placement(self, parts: Sequence[str], cores: int) -> Mapping[str, tuple[int, ...]]:  # noqa: ARG002 - one core is enough
        """All parts on one core: they run one after the other."""
        return dict.fromkeys(parts, (0,))

    def switches(self, target: str = "") -> list[str]:
        """Flags without a value, as both compilers spell them."""
        is_before_trn2 = self.saturate_infinity == "before_trn2" and target != "trn2"
        switches = {
            "--enable-saturate-infinity": self.saturate_infinity is True or is_before_trn2,
            "--enable-fast-context-switch": self.fast_context_switch,
            "--enable-fast-loading-neuron-binaries": self.fast_loading,
        }
        return [flag for flag, is_on in switches.items() if is_on]

    @property
    def variables(self) -> str:
        """Those of library and compiler."""
        return PROGRAM_VARIABLES

    def known_fault(self, model_type: str, versions: Mapping[str, str]) -> str:
        """By benchmark/neuron/known_faults.csv."""
        return known_fault(self.name, model_type, versions)

    def library(self) -> Any:
        """Import the library; importing registers the operators that a compiled program names.

        Raises:
            LibraryMissing: it can't be imported, or has no `trace`.
        """
        try:
            library = import_module(self._module)
        except (ImportError, OSError) as error:  # it calls programs of its environment
            raise LibraryMissing(f"{self._module} can't be imported ({error}): {self.install}") from error
        if not hasattr(library, "trace"):
            raise LibraryMissing(f"{self._module} here has no trace: {self.install}")
        return library

    @property
    def _module(self) -> str:
        return self.distributions[0].replace("-", "_")

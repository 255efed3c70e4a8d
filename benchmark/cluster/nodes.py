"""The nodes of a cluster, what they offer, and what a grid needs that none offers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

TIMING: Final = "timing"
"""Resource of which every node has one: a run that is timed takes it, so that a host times one at a time."""
_OF_RAY: Final = ("object_store_memory", "memory", "node:", "accelerator_type:")
NODE_LABEL: Final = "ray.io/node-id"


@dataclass(frozen=True)
class Node:
    """A host of the cluster that is alive; or one of several nodes on a host."""

    node_id: str
    name: str
    """Its hostname; with the start of the id where the cluster has it several times."""
    resources: Mapping[str, float] = field(compare=False)

    @property
    def offers(self) -> Mapping[str, float]:
        """What it was started with, without what Ray counts for itself."""
        return {name: n for name, n in self.resources.items() if not name.startswith(_OF_RAY)}

    @property
    def cpus(self) -> int:
        """Compilations take these."""
        return int(self.resources.get("CPU", 0))

    def times(self, hardware: str) -> bool:
        """Whether runs of this hardware can be timed on it."""
        return self.resources.get(hardware, 0) >= 1 and self.resources.get(TIMING, 0) >= 1


def nodes_of(listed: Iterable[Mapping[str, Any]]) -> tuple[Node, ...]:
    """The living ones of what `ray.nodes()` returns, by name."""
    alive = [one for one in listed if one["Alive"]]
    names = Counter(one["NodeManagerHostname"] for one in alive)
    return tuple(
        sorted(
            (
                Node(
                    node_id=one["NodeID"],
                    name=_named(one, several=names[one["NodeManagerHostname"]] > 1),
                    resources=one["Resources"],
                )
                for one in alive
            ),
            key=lambda node: node.name,
        )
    )


def _named(one: Mapping[str, Any], *, several: bool) -> str:
    hostname = str(one["NodeManagerHostname"])
    return f"{hostname}-{one['NodeID'][:4]}" if several else hostname


def only_on(nodes: Collection[str]) -> Mapping[str, str]:
    """Ray's label selector for these node ids."""
    return {NODE_LABEL: f"in({','.join(sorted(nodes))})"}


def missing(hardware: str, nodes: Sequence[Node]) -> str | None:
    """What no node offers of what runs of this hardware take, and how to start one; None: nothing."""
    if any(node.times(hardware) for node in nodes):
        return None
    offered = sorted({name for node in nodes for name in node.offers})
    has_it = [node.name for node in nodes if node.resources.get(hardware, 0) >= 1]
    what = f"resource `{TIMING}` beside `{hardware}`" if has_it else f"resource `{hardware}`"
    return (
        f"no node of the cluster offers the {what} (offered: {', '.join(offered) or 'nothing'}): start one "
        f"by ray start --address=HEAD:6379 --resources='{resources_text(hardware)}', or wait for one with "
        "launcher.wait_s="
    )


def resources_text(*hardware: str) -> str:
    """Value of `--resources` for a node with this hardware."""
    return "{" + ", ".join(f'"{name}": 1' for name in (*hardware, TIMING)) + "}"

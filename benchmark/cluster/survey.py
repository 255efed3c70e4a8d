"""Which nodes run which cells: those that have the hardware, and agree on versions and environment."""

from __future__ import annotations

import logging
import pickle
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmark.cell import Environment, environment_of
from benchmark.cluster import versions
from benchmark.cluster.nodes import Node, missing, nodes_of, only_on
from benchmark.cluster.tasks import Host, Looked
from benchmark.cluster.versions import Version
from benchmark.config.experiment import Experiment
from benchmark.errors import ConfigError
from benchmark.stages.plan import environment_key

logger = logging.getLogger(__name__)

_ANSWER_S: Final = 120.0
"""Time for a node to import this program and answer; on a busy host that takes a minute."""
_NO_NODE: Final = {"node": "none"}
"""Versions where no node is known: once there is one, the cell is another run."""


class Survey:
    """Looks at the nodes of a cluster, also at those that join later."""

    def __init__(self, ray: Any, experiments: Sequence[Experiment], probe: Path | None) -> None:
        """`probe` is a file in the cache of this command."""
        self._ray = ray
        self._experiments = list({environment_key(e): e for e in experiments}.values())
        self._places = {environment_key(e): place for place, e in enumerate(self._experiments)}
        self._hardware = dict.fromkeys(e.hardware.name for e in self._experiments)
        self._mine = versions.here()
        self._asked = pickle.dumps((self._experiments, probe))
        self._hosts: dict[str, Host] = {}
        """By node id; only nodes that run this version."""
        self._seen: set[str] = set()
        self._chosen: dict[Hashable, Environment] = {}
        self.nodes: tuple[Node, ...] = ()
        """The living ones."""
        self.changed_at = time.monotonic()
        """When a node was last seen to join or to be lost."""
        self.refresh()

    def refresh(self) -> None:
        """See which nodes live, and look at new ones. A late one that can't be used is left out, with a line.

        Raises:
            ConfigError: of the first nodes one has another version, or can't be used.
        """
        before, self.nodes = self.nodes, nodes_of(self._ray.nodes())
        if before != self.nodes:
            self.changed_at = time.monotonic()
        new = [node for node in self.nodes if node.node_id not in self._seen]
        used = [node for node in new if node.cpus or any(node.times(name) for name in self._hardware)]
        try:
            self._look_at(used)
        except ConfigError as mistake:
            if not self._hosts:
                raise
            logger.warning("left out: %s", mistake)
        self._seen |= {node.node_id for node in new}

    def _look_at(self, nodes: Sequence[Node]) -> None:
        """Compare the version of these nodes, and see what they have."""
        answers = ask(self._ray, nodes, versions.look_if_same(self._mine, self._asked))
        found = {node: Version(*version) for node, (version, _) in answers.items()}
        versions.refuse_others(found, self._mine, f"Python {platform.python_version()}")
        self._hosts |= {node.node_id: host for node, (_, host) in answers.items()}
        self._name_those_that_differ(list(answers))

    def not_offered(self) -> list[str]:
        """For each hardware of the grid that no node can time: what is missing."""
        usable = [node for node in self.nodes if node.node_id in self._hosts]
        return [text for name in self._hardware if (text := missing(name, usable))]

    def look(self, experiment: Experiment) -> tuple[Environment, str | None]:
        """The environment of an experiment: that of most nodes with its hardware, and what all lack."""
        candidates = self._candidates(experiment)
        if not candidates:
            lacking = missing(experiment.hardware.name, self.nodes)
            reason = lacking or f"the nodes with hardware={experiment.hardware.name} are left out, see above"
            return environment_of(experiment.hardware.facts(), _NO_NODE, {}), reason
        able = {node: looked for node, looked in candidates.items() if looked.missing is None}
        if not able:
            node, looked = next(iter(candidates.items()))
            return looked.environment, f"{looked.missing} (node {node.name})"
        environment = self._most(able)
        self._chosen[environment_key(experiment)] = environment
        return environment, None

    def home(self, experiment: Experiment, environment: Environment) -> frozenset[str]:
        """Ids of the living nodes that time this experiment in this environment."""
        return frozenset(
            node.node_id
            for node, looked in self._candidates(experiment).items()
            if looked.missing is None and looked.environment.environment_id == environment.environment_id
        )

    def compilers(self, experiment: Experiment, environment: Environment) -> frozenset[str]:
        """Ids of the living nodes that make this experiment's artefacts, and put them where its home looks.

        Empty where the nodes of its home have caches of their own: each then compiles for itself. A bucket
        is shared by all, but for what torch unpickles, which only a host that trusts it would take.
        """
        home = self.home(experiment, environment)
        in_bucket = experiment.cache_remote is not None and not experiment.compiler.unpickles
        if not (in_bucket or all(self._hosts[node_id].shares_cache for node_id in home)):
            return frozenset()
        place = self._places[environment_key(experiment)]
        for_a_target = experiment.hardware.facts().target is not None
        return frozenset(
            node.node_id
            for node in self.nodes
            if (host := self._hosts.get(node.node_id)) and (in_bucket or host.shares_cache) and node.cpus
            if (there := host.looked[place]).compiles
            and there.environment.versions == environment.versions
            and (for_a_target or there.environment.environment_id == environment.environment_id)
        )

    def workers(self, node_ids: frozenset[str]) -> int:
        """Artefacts that each of these nodes can make at a time."""
        cpus = {node.node_id: node.cpus for node in self.nodes}
        return min(min(self._hosts[one].workers, cpus[one]) for one in node_ids)

    @property
    def timing(self) -> list[Node]:
        """The nodes that time something of this grid."""
        return [
            node
            for node in self.nodes
            if node.node_id in self._hosts and any(node.times(name) for name in self._hardware)
        ]

    def name(self, node_id: str) -> str:
        """Of a node, for people."""
        return next((node.name for node in self.nodes if node.node_id == node_id), node_id[:8])

    def _candidates(self, experiment: Experiment) -> dict[Node, Looked]:
        """The living nodes with its hardware; any node where nothing is timed."""
        place = self._places[environment_key(experiment)]
        return {
            node: self._hosts[node.node_id].looked[place]
            for node in self.nodes
            if node.node_id in self._hosts
            and (node.times(experiment.hardware.name) or (experiment.needs_no_device and node.cpus))
        }

    @staticmethod
    def _most(able: Mapping[Node, Looked]) -> Environment:
        """The environment that most of these nodes have; of several, that of the first by name."""
        groups: dict[str, list[Looked]] = defaultdict(list)
        for looked in able.values():
            groups[looked.environment.environment_id].append(looked)
        return max(groups.values(), key=len)[0].environment

    def _name_those_that_differ(self, nodes: Sequence[Node]) -> None:
        """Say which nodes are left out, because their rows would not be comparable with the others'."""
        said = set()
        for e in self._experiments:
            able = {node: one for node, one in self._candidates(e).items() if one.missing is None}
            if not able:
                continue
            chosen = self._chosen.get(environment_key(e)) or self._most(able)
            for node, looked in able.items():
                differs = _difference(chosen, looked.environment)
                if differs and node in nodes and (node.name, e.hardware.name) not in said:
                    said.add((node.name, e.hardware.name))
                    logger.warning(
                        "node %s runs no cell of hardware=%s: %s; rows of one hardware must be comparable: "
                        "make the nodes alike, or give it a hardware of its own",
                        *(node.name, e.hardware.name, differs),
                    )


def ask(ray: Any, nodes: Sequence[Node], function: Callable[[], Any]) -> dict[Node, Any]:
    """Call a function on each of these nodes.

    Raises:
        ConfigError: it fails there, or a node doesn't answer.
    """
    task = ray.remote(function)
    asked = {
        task.options(
            num_cpus=0, max_retries=0, label_selector=only_on([node.node_id]), name="benchmark look"
        ).remote(): node
        for node in nodes
    }
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWER_S) if asked else ((), ())
    if late:
        names = ", ".join(asked[one].name for one in late)
        raise ConfigError(f"nodes {names} didn't answer within {_ANSWER_S:.0f} s: see `ray status`")
    answers = {}
    for one in done:
        try:
            answers[asked[one]] = ray.get(one)
        except ray.exceptions.RayTaskError as error:
            raise ConfigError(
                f"node {asked[one].name}: {' '.join(str(error.cause).split())[:300]}"
            ) from error
        except ray.exceptions.RayError:
            continue  # lost in this moment: `ray.nodes` says so next time
    return answers


def _difference(mine: Environment, other: Environment) -> str:
    """What differs between two environments, as `name: theirs, not ours`; empty for the same."""
    if mine.environment_id == other.environment_id:
        return ""
    pairs = {
        **{f: (getattr(other.facts, f), getattr(mine.facts, f)) for f in vars(mine.facts)},
        **{n: (other.versions.get(n), mine.versions.get(n)) for n in {*mine.versions, *other.versions}},
        **{n: (other.settings.get(n), mine.settings.get(n)) for n in {*mine.settings, *other.settings}},
    }
    differing = [
        f"{name} is {there}, not {here}" for name, (there, here) in sorted(pairs.items()) if there != here
    ]
    return ", ".join(differing[:3]) or "its environment differs"

"""The parts of a grid on a cluster that need no cluster: names, versions, events, lines that start nodes."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import psutil
import pytest

from benchmark.cli.cluster import start_lines
from benchmark.cluster import survey, tasks, versions
from benchmark.cluster.connection import TOKEN_FILE
from benchmark.cluster.mailbox import Event, Receiver
from benchmark.cluster.nodes import Node, missing, nodes_of
from benchmark.cluster.versions import Version
from benchmark.errors import ConfigError
from benchmark.stages.plan import look_here


def listed(node_id, hostname="a", *, alive=True, **resources):
    return {"NodeID": node_id, "Alive": alive, "NodeManagerHostname": hostname, "Resources": resources}


def test_nodes_of_one_host_get_different_names_and_dead_ones_are_left_out():
    found = nodes_of(
        [listed("1111aa"), listed("2222bb"), listed("3333cc", "b"), listed("4", "c", alive=False)]
    )
    assert [node.name for node in found] == ["a-1111", "a-2222", "b"]


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        ({"inf2": 1, "timing": 1}, None),
        ({"inf2": 1}, "no node of the cluster offers the resource `timing` beside `inf2` (offered: inf2)"),
        ({"timing": 1, "memory": 9.0}, "no node of the cluster offers the resource `inf2` (offered: timing)"),
    ],
)
def test_what_no_node_offers_is_named_with_the_line_that_starts_one(offered, said):
    text = missing("inf2", nodes_of([listed("1", **offered)]))
    assert (text or "").startswith(said or "")
    assert (text is None) == (said is None)
    assert text is None or """--resources='{"inf2": 1, "timing": 1}'""" in text


def test_a_node_with_another_version_or_none_is_refused_with_both_named():
    mine, other = Version("0.1.0", "a" * 64, "c" * 64), Version("0.1.0", "b" * 64, "c" * 64)
    nodes = {name: Node(node_id=name, name=name, resources={}) for name in ("same", "other", "bare")}
    found = {nodes["same"]: mine, nodes["other"]: other, nodes["bare"]: Version("", "", "")}
    with pytest.raises(ConfigError) as refused:
        versions.refuse_others(found, mine, "Python 3.11")
    first, second = str(refused.value).splitlines()
    assert "node other has another version" in first
    assert "code bbbbbbbb, conf cccccccc) there, 0.1.0 (code aaaaaaaa" in first
    assert "node bare can't import benchmark" in second


def test_the_version_follows_code_and_conf(monkeypatch, tmp_path):
    package = tmp_path / "benchmark"
    (tmp_path / "conf").mkdir()
    package.mkdir()
    for file in (package / "__init__.py", package / "a.py", tmp_path / "conf" / "a.yaml"):
        file.write_text("x: 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "benchmark")
    first = versions.reader()()
    (package / "a.py").write_text("x: 2\n")
    second = versions.reader()()
    (tmp_path / "conf" / "a.yaml").write_text("x: 2\n")
    third = versions.reader()()
    assert [one != two for one, two in zip(first[1:], second[1:], strict=True)] == [True, False]
    assert [one != two for one, two in zip(second[1:], third[1:], strict=True)] == [False, True]


@pytest.mark.parametrize(
    ("words", "shares", "makers"),
    [
        ((), False, set()),
        ((), True, {"1", "2"}),
        (("cache.remote=s3://bucket/cache",), False, {"1", "2"}),
        (("cache.remote=s3://bucket/cache", "compiler=inductor", "hardware=cpu"), False, set()),
    ],
)
def test_any_node_compiles_what_the_home_finds_in_a_shared_folder_or_bucket(
    compose, monkeypatch, words, shares, makers
):
    """But not what torch unpickles: only a host that trusts the bucket takes that."""
    e = compose("hardware=simulated", *words)
    looked = tasks.Looked(look_here(e)[0], None, compiles=True)
    answer = (versions.here(), tasks.Host(workers=1, shares_cache=shares, looked=(looked,)))
    monkeypatch.setattr(survey, "ask", lambda _, nodes, __: dict.fromkeys(nodes, answer))
    home = {e.hardware.name: 1, "timing": 1}
    every = [listed("1", CPU=1, **home), listed("2", "b", CPU=1), listed("3", "c", **home)]
    found = survey.Survey(SimpleNamespace(nodes=lambda: every), [e], None)
    assert found.home(e, looked.environment) == {"1", "3"}
    assert found.compilers(e, looked.environment) == makers


class Seen:
    """An observer that writes down what it is shown."""

    def __init__(self):
        self.now, self.waits = set(), []

    @contextmanager
    def working(self, where, run_id, stage):
        self.now.add((where, run_id, stage))
        yield
        self.now.discard((where, run_id, stage))

    def waiting(self, where, run_id, holder):
        self.waits.append((where, run_id, holder))


def test_events_of_a_node_are_shown_under_its_name_until_they_end_or_the_node_is_lost():
    seen = Seen()
    receiver = Receiver(seen, {"1": "host-a"}.__getitem__)
    receiver.repeat([Event("begin", "1", "inf2", "r1", "build"), Event("end", "1", "inf2", "r1", "build")])
    assert seen.now == set()
    receiver.repeat([Event("begin", "1", "inf2", "r1", "wait"), Event("wait", "1", "inf2", "r1", "pid 7")])
    assert (seen.now, seen.waits) == ({("host-a inf2", "r1", "wait")}, [("host-a inf2", "r1", "pid 7")])
    assert receiver.begun == {"r1"}
    receiver.lost("r1")
    assert (seen.now, receiver.begun) == (set(), set())


def test_the_lines_that_start_nodes_name_the_file_of_the_token_and_never_its_value(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("very-secret")
    monkeypatch.setenv(TOKEN_FILE, str(tmp_path / "token"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "very-secret")
    text = "\n".join(start_lines(["inf2"]))
    assert f"{TOKEN_FILE}={tmp_path}/token ray start --head" in text
    assert "RAY_worker_niceness=0 ray start --address=HEAD" in text
    assert "secret" not in text


def test_a_process_whose_node_was_killed_ends_with_it(monkeypatch):
    """Its zombie has no environment; an error of ours would end the grid, a lost process runs again."""

    def gone(_):
        raise psutil.ZombieProcess(1)

    def ended(code):
        raise SystemExit(code)

    monkeypatch.setattr(tasks.psutil, "Process", gone)
    monkeypatch.setattr(tasks.os, "_exit", ended)
    with pytest.raises(SystemExit):
        tasks._as_started()

"""Of several settings the fastest is kept, by calls that take what a clock says."""

from __future__ import annotations

import pytest

from benchmark.records import Arithmetic, Session
from benchmark.timing.choice import fastest


class Settings:
    """A process with settings; a call takes the milliseconds of the one that is set."""

    def __init__(self, **ms):
        self.ms, self.now_ns, self.calls = ms, 0, []
        self.set = "untouched"

    def session(self, *names):
        first = self.arithmetic("untouched")
        choices = tuple(lambda name=name: self.choose(name) for name in names)
        return Session(run=self.call, clock=lambda: self.now_ns, arithmetic=first, choices=choices)

    def choose(self, name):
        self.set = name
        return self.arithmetic(name)

    def arithmetic(self, name):
        types = {"model_dtype": "fp32", "matmul_dtype": "fp32", "other_dtype": "fp32", "autocast": "none"}
        return Arithmetic(**types, matmul_precision=name)

    def call(self):
        self.calls.append(self.set)
        self.now_ns += round(1e6 * self.ms[self.set])


@pytest.mark.parametrize(
    ("times", "kept"),
    [
        ({"highest": 1.0, "high": 1.3, "medium": 0.8}, "medium"),
        ({"highest": 1.0, "high": 0.9, "medium": 1.4}, "high"),
        ({"highest": 1.0, "high": 1.0, "medium": 0.99}, "highest"),  # that is noise
        ({"highest": 1.0, "high": 1.1, "medium": 1.4}, "highest"),
    ],
)
def test_the_fastest_setting_is_kept_and_said(times, kept):
    settings = Settings(**times)
    session = fastest(settings.session(*times))
    assert settings.set == session.arithmetic.matmul_precision == kept
    assert session.choices == ()
    assert settings.now_ns < 0.6e9


def test_slow_calls_are_few():
    settings = Settings(highest=5000, medium=4000)
    session = fastest(settings.session("highest", "medium"))
    assert session.arithmetic.matmul_precision == "medium"
    assert settings.calls == ["highest"] * 3 + ["highest", "medium"]


def test_a_clock_that_stands_still_ends_it_too():
    settings = Settings(highest=0, medium=0)
    assert fastest(settings.session("highest", "medium")).arithmetic.matmul_precision == "highest"


def test_a_session_without_choices_is_not_called():
    settings = Settings()
    session = settings.session()
    assert fastest(session) is session
    assert settings.calls == []

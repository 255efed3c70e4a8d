"""What torch's compilers need beside torch where there is a GPU."""

from __future__ import annotations

import sysconfig

import pytest

from benchmark.nvidia import toolkit


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A host without a toolkit, which has gcc and Python's headers."""
    for name in ("CUDA_HOME", "CUDA_PATH", "CC"):
        monkeypatch.delenv(name, raising=False)
    for folder in ("bin", "cuda/include", "python"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(toolkit, "USUAL", tmp_path / "absent")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path / "python")})
    (tmp_path / "python" / "Python.h").touch()
    gcc = tmp_path / "bin" / "gcc"
    gcc.touch()
    gcc.chmod(0o755)
    return tmp_path


def test_the_toolkit_is_needed_with_its_headers(host, monkeypatch):
    assert "there is none: install the toolkit" in toolkit.lacking_for_aot_inductor()
    monkeypatch.setenv("CUDA_HOME", str(host / "cuda"))
    assert "cuda/include/cuda.h is absent" in toolkit.lacking_for_aot_inductor()
    (host / "cuda" / "include" / "cuda.h").touch()
    assert toolkit.lacking_for_aot_inductor() is None


@pytest.mark.parametrize(
    ("absent", "advice"), [("bin/gcc", "install gcc"), ("python/Python.h", "python3-dev")]
)
def test_triton_needs_a_c_compiler_and_the_headers_of_python(host, absent, advice):
    assert toolkit.lacking_for_triton() is None
    (host / absent).unlink()
    assert advice in toolkit.lacking_for_triton()


def test_the_toolkit_is_where_nvcc_is_or_in_its_usual_place(host, monkeypatch):
    monkeypatch.setattr(toolkit, "USUAL", host / "cuda")
    assert toolkit.home() == host / "cuda"
    nvcc = host / "bin" / "nvcc"
    nvcc.touch()
    nvcc.chmod(0o755)
    assert toolkit.home() == host

"""Installing the wheel as docs/install.md says: data prep alone, by pip and by uv, in fresh environments."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv")
NO_NETWORK = ("Failed to establish a new connection", "No matching distribution found for hatchling", "dns error")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(UV is None, reason="needs uv")]


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command outside of this environment; skip where there is no network."""
    here = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(part) for part in command], env=here | environment, capture_output=True, text=True)
    if done.returncode and any(sign in done.stderr for sign in NO_NETWORK):
        pytest.skip("no network")
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run("uv", "build", "--wheel", "--out-dir", folder, ROOT)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module", params=["pip", "uv"])
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """A fresh environment with the wheel and what it depends on, nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=request.param == "pip")
    install = {
        "pip": (folder / "bin/pip", "install", "--quiet", wheel),
        "uv": ("uv", "pip", "install", "--quiet", "--python", folder / "bin/python", wheel),
    }[request.param]
    installed = run(*install)
    assert installed.returncode == 0, installed.stderr
    return folder


def shards(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*/*.parquet")
    }


def test_data_prep_needs_no_torch_and_gives_the_same_bytes(environment: Path, tmp_path: Path) -> None:
    prepare = ("super3", "data", "prep", "sft", "-c", "tiny")
    alone = run(environment / "bin/nemotron", *prepare, f"output_dir={tmp_path / 'alone'}")
    assert alone.returncode == 0, alone.stderr
    assert "Warning" not in alone.stderr
    path = {"PYTHONPATH": str(ROOT / "src")}
    here = run(sys.executable, "-m", "nemotron", *prepare, f"output_dir={tmp_path / 'here'}", **path)
    assert here.returncode == 0, here.stderr
    assert shards(tmp_path / "alone/splits") == shards(tmp_path / "here/splits") != {}
    assert not list(environment.glob("lib/python*/site-packages/torch"))


def test_the_schemas_of_configs_are_in_the_wheel(environment: Path) -> None:
    printed = run(environment / "bin/nemotron", "config", "schema", "data_prep")
    assert printed.returncode == 0, printed.stderr
    [shipped] = environment.glob("lib/python*/site-packages/nemotron/_config/schema/data_prep.json")
    assert printed.stdout == shipped.read_text(encoding="utf-8")
    first = (shipped.parents[1] / "data_prep/tiny.yaml").read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (shipped.parents[1] / "data_prep" / named).resolve() == shipped.resolve()


def test_training_says_how_it_is_installed(environment: Path, tmp_path: Path) -> None:
    refused = run(environment / "bin/nemotron", "super3", "sft", "-c", "tiny", f"run.data={tmp_path}")
    assert refused.returncode == 1
    assert "nemotron[train]" in refused.stderr
    assert "Traceback" not in refused.stderr

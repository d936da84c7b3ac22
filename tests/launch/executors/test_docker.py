"""A stage in a container: the command for docker, run here by a stand-in that records what it is given."""

import os
from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.launch import LaunchError, follow, place, preview, submit

IMAGE = 'container_image = "nvcr.io/nvidia/nemo:TAG"'


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the arguments, one a line, that docker was run with, and with its standard input."""
    folder = tmp_path / "bin"
    folder.mkdir()
    body = f'printf "%s\\n" "$@" > {tmp_path}/arguments; cat > {tmp_path}/input; env > {tmp_path}/environment; exit 7'
    (folder / "docker").write_text(f"#!/bin/bash\n{body}\n")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path


def arguments(profile, *stages) -> list[str]:
    return [*dict(preview(place(stages, profile, attached=True))[0].options)["docker"].split()]


def test_a_stage_runs_in_a_container_with_the_job_and_the_working_folder(profile, sft, work: Path, docker: Path):
    here = profile(IMAGE, "gpus_per_node = 2", 'mounts = ["./data:/data", "/lustre:/lustre:ro"]', executor="docker")
    submission = submit(place([sft], here, attached=True))
    assert follow(submission, on_output=print) == 7
    given = (docker / "arguments").read_text().splitlines()
    folder = submission.jobs[0].folder
    assert {f"--volume={folder}:/nemo_run", f"--volume={work}:{work}", f"--volume={work}/data:/data"} <= set(given)
    assert {"run", "--rm", "--gpus=2", "--ipc=host", "--volume=/lustre:/lustre:ro"} <= set(given)
    assert given[-3:] == [
        "nvcr.io/nvidia/nemo:TAG",
        "-c",
        ". /dev/stdin; exec bash /nemo_run/code/launch.sh < /dev/null",
    ]
    script = Path(folder, "code", "launch.sh").read_text()
    assert "--nproc-per-node=2 --standalone" in script
    assert f"cd -- {work}" in script


def test_secrets_go_through_the_standard_input_alone(profile, sft, work: Path, docker: Path):
    here = profile(IMAGE, 'env_vars = { WANDB_API_KEY = "s3cret x" }', executor="docker")
    assert follow(submit(place([sft], here, attached=True)), on_output=print) == 7
    assert (docker / "input").read_text() == "export WANDB_API_KEY='s3cret x'\n"
    assert "s3cret" not in (docker / "arguments").read_text() + (docker / "environment").read_text()
    written = [path for path in work.rglob("*") if path.is_file() and "s3cret" in path.read_text()]
    assert written == [work / "env.toml"]


def test_what_docker_is_asked_for_comes_from_the_profile(profile, prep, sft):
    lines = [IMAGE, "gpus_per_node = 8", 'runtime = "nvidia"', 'shm_size = "16g"', 'docker_args = ["--user=1:1"]']
    asked = arguments(profile(*lines, executor="docker"), sft)
    assert {"--runtime=nvidia", "--shm-size=16g", "--user=1:1"} <= set(asked)
    assert "--ipc=host" not in asked
    assert not any(word.startswith("--gpus") for word in arguments(profile(*lines, executor="docker"), prep))


def test_what_is_missing_is_said(profile, sft, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match="image"):
        place([sft], profile(executor="docker"), attached=True)
    with pytest.raises(UserError, match="detached"):
        place([sft], profile(IMAGE, executor="docker"), attached=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LaunchError, match="docker"):
        submit(place([sft], profile(IMAGE, executor="docker"), attached=True))

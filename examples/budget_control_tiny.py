"""The budget stage of docs/howto/budget-control.md from end to end with the tiny model, on a CPU, in minutes.

    uv run python examples/budget_control_tiny.py [FOLDER] [ITERATIONS]

Fine-tune, export, serve the export on loopback, roll out, prepare, and train four iterations on the rollouts.
"""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent


def nemotron(*arguments: str, environment: dict[str, str]) -> None:
    """Run a command, and show it."""
    print(f"\n$ nemotron {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "nemotron", *arguments], env=environment, check=True)


def main(folder: Path, iterations: int) -> None:
    """Run all stages below `folder`; the main stage trains so many iterations."""
    folder = folder.absolute()
    environment = {**os.environ, "NEMO_RUN_DIR": str(folder), "NEMOTRON_ARTIFACTS": str(folder / "artifacts")}
    nemotron("super3", "pipe", "-c", "tiny", f"train.train_iters={iterations}", environment=environment)
    nemotron("super3", "model", "export", str(folder / "tiny/sft"), environment=environment)
    command = [sys.executable, str(EXAMPLES / "serve_export.py"), str(folder / "tiny/sft/hf")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            address = server.stdout.readline().strip()
            rollouts = ("super3", "data", "rollouts", "-c", "budget_control_tiny", f"endpoint.base_url={address}")
            nemotron(*rollouts, environment=environment)
            nemotron(*rollouts, "--budgets", "8,16", "prompts.samples=2", environment=environment)
        finally:
            server.kill()
    nemotron("super3", "data", "prep", "sft", "-c", "budget_control_tiny", environment=environment)
    nemotron("super3", "sft", "-c", "budget_control_tiny", environment=environment)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "output"), int(sys.argv[2]) if len(sys.argv) > 2 else 60)

"""`python killed_in_a_save.py WRITE ITERATION ARGUMENTS...`: the command line, killed between two writes of a save.

WRITE is `tracker` (train_state.pt is there, latest_train_state.pt half copied) or `config` (the trackers are there,
run_config.yaml is not).
"""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

write, iteration, *arguments = sys.argv[1:]


def die() -> NoReturn:
    """Die as if by the kernel."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


copy: Any = shutil.copy


def copy_half(source: Any, target: Any, **options: Any) -> Any:
    """Copy train_state.pt of the fatal iteration half, and die."""
    if write == "tracker" and f"iter_{int(iteration):07d}" in str(source):
        whole = Path(source).read_bytes()
        Path(target).write_bytes(whole[: len(whole) // 2])
        die()
    return copy(source, target, **options)


def hook_config() -> None:
    """Die where run_config.yaml of the fatal iteration would be written."""
    from megatron.bridge.training.config import ConfigContainer

    to_yaml: Any = ConfigContainer.to_yaml

    def die_or_write(self: Any, path: Any = None, *others: Any, **options: Any) -> Any:
        if write == "config" and f"iter_{int(iteration):07d}" in str(path):
            die()
        return to_yaml(self, path, *others, **options)

    ConfigContainer.to_yaml = die_or_write  # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    shutil.copy = copy_half
    # Megatron is imported late, by the command; the hook waits for it there.
    import nemotron.training.run as training_run

    finetune: Any = training_run.run_finetune

    def hooked(*given: Any, **options: Any) -> Any:
        """Set the hook once Megatron can be imported: the backend is up, the recipe is about to be built."""
        import nemotron.training.recipe.build as build

        build_recipe: Any = build.build_recipe

        def build_with_hook(*inner: Any, **inner_options: Any) -> Any:
            hook_config()
            return build_recipe(*inner, **inner_options)

        build.build_recipe = build_with_hook
        return finetune(*given, **options)

    training_run.run_finetune = hooked
    from nemotron.cli.app import run

    sys.exit(run(arguments))

"""A training run on the CPU that keeps the distributed optimizer, which the CPU backend turns off. Arguments: as of
recipes/super3/stage1_sft/train.py. Run by test_distributed_optimizer.py."""

from unittest.mock import patch


def main() -> None:
    """Train as the recipe script does."""
    from nemotron.cli.super3.sft import show_result
    from nemotron.recipes.script import run_script
    from nemotron.training.config import SftConfig
    from nemotron.training.cpu import settings
    from nemotron.training.run import train

    set_fields = settings.set_fields

    def set_all_but_one(target: object, **values: object) -> None:
        values.pop("use_distributed_optimizer", None)
        set_fields(target, **values)

    with patch.object(settings, "set_fields", set_all_but_one):
        run_script(train, show_result, schema=SftConfig, description=__doc__)


if __name__ == "__main__":
    main()

"""Run `nemotron config schema`: print what editors check YAML with."""

import enum
from typing import Annotated, Any

import typer

from nemotron.cli import console

config = typer.Typer(help="Print config schemas.", no_args_is_help=True)


class Kind(enum.StrEnum):
    """The kinds of configs there are, by the folder of their schema's file."""

    SFT = "sft"
    DATA_PREP = "data_prep"
    ROLLOUTS = "rollouts"


@config.command("schema")
def schema(kind: Annotated[Kind, typer.Argument(help="Of which kind of config.")] = Kind.SFT) -> None:
    """Print the JSON schema of a kind of config, for editors.

    The shipped YAML files refer to theirs in the first lines. For your own file:

    \b
    Examples:
      nemotron config schema data_prep > data_prep.json
      # yaml-language-server: $schema=data_prep.json
    """
    console.raw(schema_text(kind))


def schema_text(kind: Kind) -> str:
    """Return the text of a schema, as it is printed and shipped."""
    import json

    return json.dumps(_schema(kind), indent=1, ensure_ascii=False)


def _schema(kind: Kind) -> dict[str, Any]:
    from nemotron.json_schema import json_schema

    match kind:
        case Kind.SFT:
            from nemotron.training.config import SftConfig
            from nemotron.training.recipe.known_settings import schemas_of_section

            return json_schema(SftConfig, schemas_of_section)
        case Kind.DATA_PREP:
            from nemotron.data_prep.config import DataPrepConfig

            return json_schema(DataPrepConfig)
        case Kind.ROLLOUTS:
            from nemotron.rollouts.config import RolloutsConfig

            return json_schema(RolloutsConfig)

"""Group the commands of `nemotron super3 data`: chat data for training."""

import typer

from nemotron.cli.super3.data.blend import blend
from nemotron.cli.super3.data.import_ import import_
from nemotron.cli.super3.data.inspect import inspect
from nemotron.cli.super3.data.prep import prep
from nemotron.cli.super3.data.rollouts import rollouts
from nemotron.cli.super3.data.verify import verify

data = typer.Typer(
    rich_markup_mode=None,
    help="Prepare and inspect chat data.",
    epilog="Try it: nemotron super3 data prep sft -c tiny",
)
data.add_typer(prep, name="prep")
data.add_typer(blend, name="blend")
data.command("import")(import_)
data.command("inspect")(inspect)
data.command("verify")(verify)
data.command("rollouts")(rollouts)

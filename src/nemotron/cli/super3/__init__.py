"""Group the commands of `nemotron super3`: the stages of Nemotron 3 Super."""

import typer

from nemotron.cli.super3.data import data
from nemotron.cli.super3.model import model
from nemotron.cli.super3.pipe import pipe
from nemotron.cli.super3.report import report
from nemotron.cli.super3.sft import sft

super3 = typer.Typer(
    rich_markup_mode=None,
    help="Supervised fine-tuning of Nemotron 3 Super.",
    epilog="Try it: nemotron super3 pipe -c tiny",
)
super3.add_typer(data, name="data")
super3.add_typer(model, name="model")
super3.command("sft")(sft)
super3.command("pipe")(pipe)
super3.command("report")(report)

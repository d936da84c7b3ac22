"""Group the commands of `nemotron super3 model`: convert models, and talk to them."""

import typer

from nemotron.cli.super3.model.chat import chat
from nemotron.cli.super3.model.export import export
from nemotron.cli.super3.model.import_ import import_

model = typer.Typer(
    rich_markup_mode=None,
    help="Convert models between Hugging Face and Megatron, and chat with them.",
    epilog="Try it: nemotron super3 model export output/tiny/sft",
)
model.command("chat")(chat)
model.command("export")(export)
model.command("import")(import_)

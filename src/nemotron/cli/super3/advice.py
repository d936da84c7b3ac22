"""Report layouts that fit, for a dry run with --advise."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from nemotron.cli import dry_run

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.training.config import SftConfig
    from nemotron.training.prepared_data import PreparedData

DOCUMENTED_RANKS, DOCUMENTED_PACK_SIZE = 32, 4096
"""Used if neither profile, config nor data say: the documented minimum, and data prep's default."""


def report_advice(
    report: dry_run.Report, loaded: "Loaded[SftConfig]", data: "PreparedData | None", ranks: int | None
) -> None:
    """Add the best layouts that fit a GPU's memory, with costs and overrides to copy.

    Args:
        report: The dry run.
        loaded: The training config.
        data: The prepared data; None if it cannot be read from here.
        ranks: Processes in all; None takes run.nproc_per_node, else the documented minimum.
    """
    from nemotron.training.counts import find_pack_size
    from nemotron.training.parallelism.advise import advise

    config = loaded.config
    pack_size = find_pack_size(config, data) or DOCUMENTED_PACK_SIZE
    if ranks is None:
        ranks = DOCUMENTED_RANKS if config.run.nproc_per_node == "auto" else config.run.nproc_per_node
    pad_to_multiple = 1 if data is None else data.pad_to_multiple
    found = advise(config, pack_size, ranks, pad_to_multiple=pad_to_multiple)
    spare = config.run.gpu_memory_gb - config.run.gpu_headroom_gb
    title = f"Layouts for {ranks} ranks of {config.run.gpu_memory_gb:g} GB and packs of {pack_size:,} tokens"
    if not found:
        report.rows(title, [("nothing fits", f"in {spare:g} GB per rank; use more ranks, or adapters (-c lora)")])
        return
    rows = [
        line
        for number, advice in enumerate(found, start=1)
        for line in ((f"{number}", advice.describe()), ("", advice.command_line or "as configured"))
    ]
    report.rows(title, rows, {"layouts": [asdict(advice) | {"overrides": advice.overrides} for advice in found]})

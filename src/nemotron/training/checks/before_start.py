"""Whether a run can start at all: asked before data is prepared, ranks are started, or a place in a queue is taken."""

from nemotron.lineage import check_root
from nemotron.training.backend import check_backend
from nemotron.training.checkpoints.initial_weights import check_start
from nemotron.training.config import SftConfig


def check_can_start(config: SftConfig, *, here: bool = True) -> None:
    """Refuse a run without a model to start from, with a backend that this machine cannot give, or that cannot be
    recorded.

    Args:
        here: whether this machine is the one that trains.

    Raises:
        UserError: as said.
    """
    check_start(config)
    if here:
        check_backend(config)
        check_root(config.run.artifacts)

"""Megatron-Core's dataset helpers in C++.

Its wheels bring them along, and its training loop builds them all the same.
"""


def use_built_helpers() -> None:
    """Skip the building where the extension is there. Imports Megatron-Bridge.

    `compile_helpers` (megatron/core/datasets/utils.py) runs `make` in the installed package, and ends the process when
    that fails; a wheel has no Makefile. Where the extension is missing, in a source tree, Megatron builds it.
    """
    try:
        import megatron.core.datasets.helpers_cpp  # noqa: F401
    except ImportError:
        return
    from megatron.bridge.training import initialize

    initialize.compile_helpers = lambda: None

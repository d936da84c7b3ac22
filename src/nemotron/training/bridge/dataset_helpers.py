"""Use the C++ dataset helpers in Megatron-Core's wheels.

The training loop would build them again.
"""


def use_built_helpers() -> None:
    """Skip the build if the extension exists; imports Megatron-Bridge.

    `compile_helpers` (megatron/core/datasets/utils.py) runs `make` in the installed package and ends the process if
    that fails, but a wheel has no Makefile. In a source tree without the extension, Megatron builds it.
    """
    try:
        import megatron.core.datasets.helpers_cpp  # noqa: F401
    except ImportError:
        return
    from megatron.bridge.training import initialize

    initialize.compile_helpers = lambda: None

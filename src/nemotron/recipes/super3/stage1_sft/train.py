"""Train: torchrun --nproc-per-node=8 train.py [OPTION ...] [key=value ...]

Options are --config NAME|FILE and --peft lora|dora|none.

Helper processes that training spawns import this file again, so everything else is imported only when it runs as a
script.
"""

if __name__ == "__main__":
    import os
    import signal

    from nemotron.exit_codes import STOPPED_MARK

    if STOPPED_MARK in os.environ:
        # recipes/torchrun.py starts ranks with both signals ignored. Until Megatron can save first, they end the job.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    from nemotron.cli.super3.sft import show_result, train_with_progress
    from nemotron.recipes.script import run_script
    from nemotron.training.config import SftConfig

    run_script(train_with_progress, show_result, schema=SftConfig, description=__doc__, words=("peft",))

"""Training as a script: torchrun --nproc-per-node=8 train.py [--config NAME|FILE] [key=value ...]

Helper processes that training spawns import this file anew, so everything else is imported only when it runs as a
script.
"""

if __name__ == "__main__":
    from nemotron.cli import console
    from nemotron.recipes.script import run_script
    from nemotron.training.config import SftConfig
    from nemotron.training.run import TrainResult, train

    def show(result: TrainResult) -> None:
        console.heading("Fine-tuned")
        rows = [("checkpoint", str(result.checkpoint)), ("metrics", str(result.metrics)), ("artifact", result.artifact)]
        console.table(rows)

    run_script(train, show, schema=SftConfig, description=__doc__)

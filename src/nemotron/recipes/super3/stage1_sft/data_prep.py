"""Prepare data: python data_prep.py [--config NAME|FILE] [key=value ...]

Worker processes import this file again, so everything else is imported only when it runs as a script.
"""

if __name__ == "__main__":
    from nemotron.cli.super3.data.prep import prepare_here
    from nemotron.cli.super3.data.prepared import show_prepared
    from nemotron.data_prep.config import DataPrepConfig
    from nemotron.recipes.script import run_script

    run_script(prepare_here, show_prepared, schema=DataPrepConfig, group="data_prep", description=__doc__)

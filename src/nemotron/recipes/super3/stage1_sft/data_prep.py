"""Data prep as a script: python data_prep.py [--config NAME|FILE] [key=value ...]

Worker processes import this file anew, so everything else is imported when it runs as a script.
"""

if __name__ == "__main__":
    from nemotron.data_prep.config import DataPrepConfig
    from nemotron.data_prep.pipeline import prepare
    from nemotron.recipes.script import run_script

    run_script(lambda loaded: prepare(loaded.config), schema=DataPrepConfig, group="data_prep", description=__doc__)

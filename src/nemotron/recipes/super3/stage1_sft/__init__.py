"""Hold the scripts `data_prep.py` and `train.py`: run by path, never imported."""

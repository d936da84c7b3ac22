"""Scripts `data_prep.py` and `train.py`, which are run by path and never imported."""

"""Supervised fine-tuning: `data_prep.py`, then `train.py`. Both run by path, and neither is imported."""

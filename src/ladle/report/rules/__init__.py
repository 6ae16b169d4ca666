"""Rules of thumb about batch sizes, one a file: `best_size.py`, `generalisation.py`, `speed.py` and others."""

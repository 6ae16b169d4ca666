"""Plain models of scikit-learn as a yardstick. Read `fits.py`, then `verdict.py`: which is better, and by how much."""

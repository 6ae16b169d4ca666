"""The hall: the words and formulas that all rooms share. Standard library and NumPy only.

Read `spec.py` first (how large a batch is and how it is cut), then `protocols.py` (the interfaces between rooms, on one
page), then `moments.py` (the three gradient moments that everything which decides lives on).
"""

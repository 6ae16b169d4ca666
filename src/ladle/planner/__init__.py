"""From measurements to a batch size: memory, throughput, noise and rate joined in one closed form. Imports no backend.

Read `choose.py` first (the order in which a probe is asked), then `target.py` (the closed form), then `decide.py`.
"""

"""The loop, checkpoints and interrupts: ordinary code around pure parts.

Read `train.py` first (the loop, written once), then `checkpoint.py` (what survives a kill), then `intake.py`.
"""

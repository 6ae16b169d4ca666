"""The JAX backend: gradients, updates, evaluation, probes and checkpoints, compiled.

Read `update.py` first (one update as pure functions), then `window.py` (many of them in one program) and `step.py` (for
any batch size on a rung), then `measure.py` (how their noise is measured) and `probe.py` (what a plan asks).
"""

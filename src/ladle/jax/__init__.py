"""The JAX backend: gradients, updates, evaluation, probes and checkpoints, compiled.

Read `update.py` first (one update as pure functions), then `step.py` (many of them for any batch size on a rung), then
`probe.py` (what a plan asks).
"""

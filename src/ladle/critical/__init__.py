"""The critical batch size, measured: what branches and steps to a target say, under each published definition.

Read `definitions.py` first (no number without its name), then `branches.py` (which size does no harm), then
`answer.py`.
"""

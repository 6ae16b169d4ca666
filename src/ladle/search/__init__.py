"""Trials of a search: which there are, how they are judged, and who runs them. Knows nothing of models or devices.

Read `space.py` first (what is tried), then `methods.py` (in which order, and what is given up), then `choice.py` (which
candidate is taken).
"""

"""The command line: one file for each verb, and what they share. Everything it does, `ladle.api` does.

Read `main.py` first (exit codes, one line for a mistake), then `train.py` (a verb), then `common.py` (shared options).
"""

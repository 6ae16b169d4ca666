"""The roof: one file for each verb that Python has, and what they share. Computes nothing itself: a backend does.

Read `task.py` first (what is to be learnt), then `fit.py` (one run, from there to the end), then `plan.py`.
"""

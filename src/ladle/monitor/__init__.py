"""What a run says while it goes on: to a person on a terminal, and to a file.

Read `console.py` (the bar and the plain lines) and `jsonl.py` (the record, safe against a kill).
"""

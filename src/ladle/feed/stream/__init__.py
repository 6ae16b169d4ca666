"""Logs of events that have no end: one file for each kind of log. A position is a small JSON value."""

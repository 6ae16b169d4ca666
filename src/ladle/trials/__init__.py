"""Trials of a search: which there are, how they are judged, and who runs them. Knows nothing of models or devices."""

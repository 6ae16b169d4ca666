"""Data in, batches out: orders of examples, and feeds that draw from them. A position is the whole state."""

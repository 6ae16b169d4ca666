"""A trained model behind a port: takes what is queued, holds its p99, refuses the rest. Imports `core` alone."""

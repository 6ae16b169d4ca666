"""The compiled side: gradients, updates, evaluation and probes on JAX."""

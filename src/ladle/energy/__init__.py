"""Energy, carbon and processor time: counters where the machine has them, a labelled model, or nothing."""

"""The loop, checkpoints and interrupts: ordinary code around pure parts."""

"""Trackers: where a run's record is sent, besides its folder. Read `deliver.py`, then the one file of each library.

    ladle.fit(task, 64, out="runs/a", sinks=[ladle.track.TensorBoard("runs/tensorboard")])

A tracker is a value that says where; its library is loaded when a run begins, in a process beside the run's.
"""

from __future__ import annotations

from ladle.track.mlflow import MLflow
from ladle.track.tensorboard import TensorBoard
from ladle.track.trackio import Trackio
from ladle.track.wandb import WandB

__all__ = ["BY_NAME", "MLflow", "TensorBoard", "Trackio", "WandB"]

BY_NAME = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB, "trackio": Trackio}
"""Trackers as `ladle train --track` and `ladle report --to` name them."""

"""The verbs of the command line: what each takes, does and prints. One file a verb."""

from __future__ import annotations

from ladle.cli.board import BoardVerb
from ladle.cli.compare import Compare
from ladle.cli.critical import CriticalVerb
from ladle.cli.data import DataVerb
from ladle.cli.doctor import DoctorVerb
from ladle.cli.export import ExportVerb
from ladle.cli.feed_check import FeedCheckVerb
from ladle.cli.launch import LaunchVerb
from ladle.cli.laws import LawsVerb
from ladle.cli.online import OnlineVerb
from ladle.cli.plan import PlanVerb
from ladle.cli.predict import PredictVerb
from ladle.cli.recur import Recur
from ladle.cli.rehearse import RehearseVerb
from ladle.cli.report import Report
from ladle.cli.search import SearchVerb
from ladle.cli.serve import ServeVerb
from ladle.cli.train import Train

VERBS = {
    "compare": Compare,
    "plan": PlanVerb,
    "train": Train,
    "launch": LaunchVerb,
    "predict": PredictVerb,
    "serve": ServeVerb,
    "export": ExportVerb,
    "critical": CriticalVerb,
    "search": SearchVerb,
    "recur": Recur,
    "online": OnlineVerb,
    "rehearse": RehearseVerb,
    "report": Report,
    "board": BoardVerb,
    "data": DataVerb,
    "feed-check": FeedCheckVerb,
    "laws": LawsVerb,
    "doctor": DoctorVerb,
}

"""The verbs of the command line: what each takes, does and prints. One file a verb."""

from __future__ import annotations

from ladle.verbs.compare import Compare
from ladle.verbs.critical import CriticalVerb
from ladle.verbs.data import DataVerb
from ladle.verbs.feed_check import FeedCheckVerb
from ladle.verbs.laws import LawsVerb
from ladle.verbs.plan import PlanVerb
from ladle.verbs.recur import Recur
from ladle.verbs.rehearse import RehearseVerb
from ladle.verbs.report import Report
from ladle.verbs.search import SearchVerb
from ladle.verbs.train import Train

VERBS = {
    "compare": Compare,
    "plan": PlanVerb,
    "train": Train,
    "critical": CriticalVerb,
    "search": SearchVerb,
    "recur": Recur,
    "rehearse": RehearseVerb,
    "report": Report,
    "data": DataVerb,
    "feed-check": FeedCheckVerb,
    "laws": LawsVerb,
}

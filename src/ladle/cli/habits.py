"""What people of other tools type: the option of ladle that is meant, with the value that was given."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Habit:
    """Words for an option that has another name here.

    - `words`: what is typed. `forms`: options that may be meant, each with how the value is then said; the first that
      the verb has. `usual`: a value to show where none was given.
    """

    words: str
    forms: Mapping[str, str]
    usual: str
    verbs: str = ""


BOUNDED = "train compare search critical"
"""Verbs whose end may be a number of epochs, examples or steps alone."""

EPOCHS = "epochs epoch num-epochs n-epochs max-epochs num-train-epochs nb-epoch passes"
STEPS = "steps max-steps num-steps n-steps updates iterations iters max-iter n-iter num-iterations"

HABITS = (
    Habit(EPOCHS, {"epochs": "{}", "until": "'{} epochs'"}, "30", BOUNDED),
    Habit(EPOCHS, {"until": "'valid_accuracy >= 0.95, {} epochs'"}, "100", "recur"),
    Habit(STEPS, {"until": "'{} steps'"}, "5000", BOUNDED),
    Habit(STEPS, {"until": "'valid_accuracy >= 0.95, {} steps'"}, "5000", "recur"),
    Habit("examples max-examples samples num-samples", {"until": "'{} examples'"}, "2e6", BOUNDED),
    Habit("seconds time max-time timeout time-limit budget", {"until": "'{} s'"}, "600", "train compare"),
    Habit("patience early-stopping early-stop early-stopping-patience",
          {"until": "'100 epochs, patience {}'"}, "5", "train compare"),
    Habit("size batch-size batchsize batch bs b train-batch-size per-device-train-batch-size minibatch-size "
          "mini-batch-size batch-sizes sizes", {"size": "{}", "sizes": "{}"}, "64"),
    Habit("micro-batch-size microbatch-size micro-batch micro-batches", {"micro-size": "{}"}, "64"),
    Habit("lr learning-rate learningrate lr-rate rate alpha eta step-size learning-rate-init base-lr max-lr "
          "learning-rates rates lrs", {"lr": "{}", "lrs": "{}"}, "0.001"),
    Habit("lr-scheduler scheduler lr-scheduler-type lr-decay decay learning-rate-schedule",
          {"lr-schedule": "{}"}, "cosine"),
    Habit("batch-schedule batch-size-schedule size-schedule policy", {"schedule": "{}"}, "'0:64 10ep:128'"),
    Habit("target-column target-col label label-column labels y y-column output-column response outcome",
          {"target": "{}"}, "COLUMN"),
    Habit("output output-dir output-folder outdir out-dir save-dir save logdir log-dir log-folder folder dir run-dir o",
          {"out": "{}", "output": "{}"}, "FOLDER"),
    Habit("task task-type problem problem-type objective", {"kind": "{}"}, "classification"),
    Habit("valid validation validation-split val-split test-size test-split valid-size val-size val holdout",
          {"valid": "{}"}, "0.2"),
    Habit("optim opt solver optimiser", {"optimizer": "{}"}, "adam"),
    Habit("arch architecture network net backbone", {"model": "{}"}, "mlp"),
    Habit("amp fp16 bf16 half mixed-precision dtype autocast", {"precision": "{}"}, "bf16"),
    Habit("gradient-checkpointing checkpointing activation-checkpointing rematerialize recompute",
          {"remat": "{}"}, "full"),
    Habit("random-state random-seed rng rng-seed", {"seed": "{}"}, "0"),
    Habit("resume-from resume-from-checkpoint restart continue checkpoint ckpt load", {"resume": "{}"}, "FOLDER"),
    Habit("exclude ignore drop-columns drop-cols ignore-columns", {"drop": "{}"}, "COLUMN"),
    Habit("na-values na-value null-values missing-values missing", {"na": "{}"}, "WORD"),
    Habit("sep separator delim", {"delimiter": "{}"}, "';'"),
    Habit("categorical categorical-columns cat-features categorical-features", {"categories": "{}"}, "COLUMN"),
    Habit("dtypes column-types schema", {"as": "{}"}, "COLUMN=category"),
    Habit("cv k kfold k-fold n-splits num-folds n-folds", {"folds": "{}"}, "5"),
    Habit("jobs n-jobs num-workers n-workers j", {"workers": "threads:{}"}, "2"),
    Habit("mem max-memory memory-limit max-mem", {"memory": "{}"}, "2GB"),
    Habit("save-every save-steps checkpoint-interval checkpoint-every-seconds", {"checkpoint-every": "{}"}, "30"),
    Habit("force f replace overwrite-output-dir", {"overwrite": ""}, ""),
    Habit("tracker trackers logger loggers log-to report-to log-with", {"track": "{}", "to": "{}"}, "tensorboard"),
    Habit("silent q no-progress", {"quiet": ""}, ""),
    Habit("data dataset data-set input file train-file train-data csv path", {"": "{}"}, "DATA"),
)  # fmt: skip


def meant(option: str, value: str | None, verb: str, known: Collection[str]) -> str | None:
    """What to type instead of `option`, with the `value` that came with it; None where nothing is known to be meant.

    - `known`: the options of `verb`, without their dashes.

    >>> meant("epochs", "5", "train", ["until", "size"]), meant("learning-rate", None, "search", ["lrs"])
    ("--until '5 epochs'", '--lrs 0.001')
    """
    for habit in HABITS:
        if option in habit.words.split() and (not habit.verbs or verb in habit.verbs.split()):
            name = next((name for name in habit.forms if name in known or not name), None)
            return None if name is None else _said(name, habit, value, verb)
    return None


def given(tokens: Sequence[str], place: int) -> str | None:
    """The value that came with the option at `place`: after an equals sign, or as the next word.

    >>> given(["--epochs", "5"], 0), given(["--epochs=5"], 0), given(["--quick", "--json"], 0)
    ('5', '5', None)
    """
    _, joined, value = tokens[place].partition("=")
    if joined:
        return value
    after = tokens[place + 1] if place + 1 < len(tokens) else "-"
    return None if after.startswith("-") else after


def _said(name: str, habit: Habit, value: str | None, verb: str) -> str:
    form = habit.forms[name]
    plain = habit.usual if value is None else value
    # A form with quotes of its own holds the value; another one is quoted where the shell would cut it.
    filled = form.format(plain if "'" in form or value is None else shlex.quote(plain))
    return f"--{name} {filled}".rstrip() if name else f"ladle {verb} {filled}"

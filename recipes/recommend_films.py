"""The films of MovieTweetings for `recommend.py`: what was rated before a day, and what was found after it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

PAST, TOP, TRAINED, RECENT_DAYS = 20, 20, 0.85, 7


@dataclass(frozen=True, eq=False)
class Films:
    """Ratings in time order, cut once: what was rated before the cut trains, what is new after it is to be found.

    - `rated`: `i64[events, 2]`, user and film, before the cut. `traits`: `f32[films, kinds]`, genres and decade.
    - `recent`: `f32[films]`, ratings in the week before the cut. `held`: new films of each known user after it.
    """

    rated: np.ndarray
    traits: np.ndarray
    recent: np.ndarray
    held: dict[int, set[int]]

    def seen(self, user: np.ndarray, without: np.ndarray | None = None) -> np.ndarray:
        """`i32[n, PAST]`: one more than the numbers of each user's latest films, `without` one of them; 0 for none."""
        order = np.argsort(self.rated[:, 0], kind="stable")
        films, starts = (
            self.rated[order, 1],
            np.searchsorted(self.rated[order, 0], np.arange(self.rated[:, 0].max() + 2)),
        )
        rows = np.zeros((len(user), PAST), np.int32)
        for row, one in enumerate(user):
            own = films[starts[one] : starts[one + 1]]
            own = own[-PAST:] if without is None else own[own != without[row]][-PAST:]
            rows[row, : len(own)] = own + 1
        return rows

    def unseen(self, scores: np.ndarray, users: np.ndarray) -> np.ndarray:
        """`f32[users, films]`: the scores, of each user or of all, without the films that `seen` has of a user."""
        rows, seen = np.tile(scores, (len(users), 1)) if scores.ndim == 1 else scores, self.seen(users)
        rows = rows.astype(np.float32)
        rows[np.nonzero(seen)[0], seen[seen > 0] - 1] = -np.inf
        return rows

    def judged(self, part: int) -> tuple[np.ndarray, list[set[int]]]:
        """Users of every second number, to validate (0) or test (1) on, and their new films."""
        users = np.array([user for user in sorted(self.held) if user % 2 == part])
        return users, [self.held[user] for user in users.tolist()]


def read(folder: Path) -> Films:
    lines = (folder / "ratings.dat").read_text().split()
    table = np.array([line.split("::") for line in lines], np.int64)
    table = table[np.argsort(table[:, 3], kind="stable")]
    cut = int(TRAINED * len(table))
    before, after = table[:cut], table[cut:]
    users, films = (np.unique(before[:, column]) for column in (0, 1))
    rated = np.stack([np.searchsorted(users, before[:, 0]), np.searchsorted(films, before[:, 1])], axis=1)
    recent = before[:, 3] > before[-1, 3] - RECENT_DAYS * 86400
    known, held = after[np.isin(after[:, 0], users)], {}
    place = np.minimum(np.searchsorted(films, known[:, 1]), len(films) - 1)
    place = np.where(films[place] == known[:, 1], place, -known[:, 1])  # What nobody rated before is never found,
    for user, film in zip(np.searchsorted(users, known[:, 0]).tolist(), place.tolist(), strict=True):
        held.setdefault(user, set()).add(film)  # and counts all the same.
    counts = np.bincount(rated[recent, 1], minlength=len(films)).astype(np.float32)
    return Films(rated, traits(folder / "movies.dat", films), counts, held)


def traits(file: Path, films: np.ndarray) -> np.ndarray:
    """`f32[films, kinds]`: genres and the decade, of 0 and 1."""
    about = {}
    for number, title, genres in (line.split("::") for line in file.read_text("utf-8").splitlines()):
        about[int(number)] = [*filter(None, genres.split("|")), f"decade {title[-5:-2]}"]
    kinds = {kind: at for at, kind in enumerate(sorted({kind for of in about.values() for kind in of}))}
    rows = np.zeros((len(films), len(kinds)), np.float32)
    for row, film in enumerate(films.tolist()):
        rows[row, [kinds[kind] for kind in about.get(film, ())]] = 1
    return rows


def recall(scores: np.ndarray, held: list[set[int]]) -> np.ndarray:
    """`f64[users]`: of the new films of a user, the share among the `TOP` that score highest."""
    top = np.argpartition(-scores, TOP, axis=1)[:, :TOP].tolist()
    return np.array([len(new.intersection(named)) / len(new) for named, new in zip(top, held, strict=True)])

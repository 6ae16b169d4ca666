"""`answers`: items given to an executor, and those whose worker died given to it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ladle.core.errors import RunError
from ladle.search.trial import Executor

Item = TypeVar("Item")

AGAIN = 2
"""How often an item whose worker died is begun anew. More would run what kills its worker over and over."""


def answers(
    executor: Executor,
    function: Callable[[Any], Any],
    items: Sequence[Item],
    *,
    again: int = AGAIN,
    told: Callable[[Item, RunError], None] = lambda item, why: None,
) -> Iterator[tuple[Item, Any]]:
    """Each item with its answer: in their order those of the first round, then those that were begun anew.

    - `again`: rounds after the first, of the items whose answer was that their worker died (`RunError`). What is still
      one after the last round is the answer. `told(item, why)`: hears of each that is begun anew.

    An item must be one that can be done twice: a worker that died may have done most of it.

    >>> class Once:
    ...     died = False
    ...     def map(self, function, items):
    ...         for item in items:
    ...             dies, self.died = item == 2 and not self.died, self.died or item == 2
    ...             yield RunError("killed") if dies else function(item)
    >>> list(answers(Once(), abs, [-1, 2, -3]))
    [(-1, 1), (-3, 3), (2, 2)]
    """
    todo = list(items)
    for left in range(again, -1, -1):
        died: list[Item] = []
        for item, answer in zip(todo, executor.map(function, todo), strict=True):
            if isinstance(answer, RunError) and left:
                told(item, answer)
                died.append(item)
            else:
                yield item, answer
        todo = died
        if not todo:
            return

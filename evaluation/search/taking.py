"""A run begun, or taken up where it was left, for as long as no other command writes to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from evaluation.runs import begin_part, begin_run, tidy_run
from evaluation.runs.format import CONFIG, SAMPLES, table_of, tables_of
from evaluation.runs.lock import held
from evaluation.search.ranks import Ranks


def take_up(stack: ExitStack, out: Path, config: Mapping, ranks: Ranks) -> set[int]:
    """Make a run or take it up, by the first process for all; return the ids it has finished.

    Each process holds a file of the run until the stack is closed or the process dies, so that
    what one of an earlier command still writes is waited for.

    Raises:
        ValueError: the folder holds another run, or cannot be written.
        OSError: another process has ended before.
    """
    if ranks.rank:
        finished = ranks.share(set[int]())
        begin_part(out, ranks.rank)
        stack.enter_context(held(table_of(out, SAMPLES, ranks.rank)))
        return finished
    begin_run(out, config)
    stack.enter_context(held(out / CONFIG))
    for part in tables_of(out, SAMPLES)[1:]:
        with held(part):
            pass
    return ranks.share(tidy_run(out))

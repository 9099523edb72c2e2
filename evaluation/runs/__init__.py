"""A run on disk: what a search found, in a folder that can be read while and after it grows.

`config.yaml` says what was asked, `shards/*.safetensors` hold the images (one file a batch),
`samples.csv` one row a sample, `skipped.csv` the files that could not be read. A shard is
written before its rows, so an interrupted search leaves at most shards without rows; resuming
removes these and searches their images again. Where several processes search, each but the first
appends to tables of its own (`samples.1.csv`), which are merged in the end. A long run has
`forms.yaml`, too: the forms in which its networks are computed.
"""

from evaluation.runs.config import is_run, lasting
from evaluation.runs.format import SAMPLE_COLUMNS, Row, Value
from evaluation.runs.forms import read_forms, write_forms
from evaluation.runs.merging import finish_run
from evaluation.runs.reading import Run, read_run
from evaluation.runs.writing import (
    begin_part,
    begin_run,
    create_run,
    tidy_run,
    write_shards,
    write_skipped,
)

__all__ = [
    "SAMPLE_COLUMNS",
    "Row",
    "Run",
    "Value",
    "begin_part",
    "begin_run",
    "create_run",
    "finish_run",
    "is_run",
    "lasting",
    "read_forms",
    "read_run",
    "tidy_run",
    "write_forms",
    "write_shards",
    "write_skipped",
]

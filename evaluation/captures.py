"""Writes the counterfactuals of a run as DICOM files, for viewers that read nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cfgen.data.sources import open_source
from cfgen.types import Outcome
from evaluation.runs import Row, Run, read_run
from evaluation.summary import target_of
from evaluation.tables import csv_text
from evaluation.writing import make_folder, write_file

COLUMNS = ("file", "id", "target", "p_target", "sop_instance_uid")


def dicom(run: Path, out: Path, keep_patient: bool = False) -> str:
    """Write each counterfactual that was reached as a Secondary Capture, OUT/NUMBER.dcm.

    One new study with one series holds them all. Every image says in its pixels and in its header
    that it is synthetic; files are named by their place and OUT/index.csv knows samples by their
    id, so that no file name or patient of the run is in either. See
    `cfgen.data.dicom_out.write_secondary_capture`.

    Args:
        run: the run's folder.
        out: folder to write into, without DICOM files; made where it is missing.
        keep_patient: whether name, ID, birth date and sex are copied from the run's data, which
            are DICOM files then.

    Returns:
        How many were written, and where.

    Raises:
        ValueError: there is no such run, it has no counterfactual that was reached, the patient
            is to be kept and the data are no DICOM files, or `out` cannot be written or holds
            DICOM files already.
        ModuleNotFoundError: pydicom is not installed.
    """
    from cfgen.data.dicom_out import Series, write_secondary_capture  # needs an extra

    found = read_run(run)
    rows = {int(row["id"] or 0): row for row in found.samples}
    if any(out.glob("*.dcm")):
        raise ValueError(
            f"expected a folder without DICOM files, got {out}, where two series would mix; name "
            "another with --out."
        )
    reached = [i for i, row in rows.items() if row["outcome"] == Outcome.REACHED]
    if not reached:
        raise ValueError(
            f"expected a counterfactual that was reached in {run}, got none of {len(rows)}; search "
            "again with more steps."
        )
    origin = _origins(found) if keep_patient else lambda _row: None
    make_folder(out)
    series, index = Series(), []
    numbers = {identity: number for number, identity in enumerate(reached, start=1)}
    for ids, _, images in found.images():
        for identity, image in zip(ids.tolist(), images, strict=True):
            if identity in numbers:
                row, number = rows[identity], numbers[identity]
                name = f"{number:04d}.dcm"
                uid = write_secondary_capture(
                    out / name,
                    image,
                    _description(found.config, row),
                    series=series,
                    number=number,
                    source=origin(row),
                    keep_patient=keep_patient,
                )
                known = (name, identity, target_of(row), row["p_target"], uid)
                index.append(dict(zip(COLUMNS, known, strict=True)))
    write_file(out / "index.csv", csv_text(index, COLUMNS))
    left = len(rows) - len(reached)
    return f"{len(reached)} counterfactuals in {out}; {left} samples have none that was reached"


def _description(config: Mapping, row: Row) -> str:
    versions = config.get("versions") or {}
    return (
        f"Synthetic counterfactual, not an acquired image: made by cfgen "
        f"{versions.get('cfgen', '')}, method '{config.get('method')}', by changing an image until "
        f"the model '{Path(str(config.get('bundle'))).name}' called it '{target_of(row)}' with "
        f"p = {float(row['p_target'] or 0):.3f}; before, it called it '{row['source']}'."
    )


def _origins(run: Run) -> Callable[[Row], Path | None]:
    """Return where the file of each sample of a run is."""
    config = run.config
    if config.get("data") is None:
        raise ValueError(
            f"expected a run that knows its data, got {run.path}; leave --keep_patient out."
        )
    source = open_source(str(config["data"]), config.get("classes"))
    samples = {sample.path: sample for sample in source.samples}

    def origin(row: Row) -> Path | None:
        sample = samples.get(str(row["path"]))
        content = source.content(sample) if sample and source.content else None
        return content if isinstance(content, Path) else None

    return origin

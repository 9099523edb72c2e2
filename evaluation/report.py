"""One self-contained HTML page of a run: what was found, how far to believe it, every case.

The page needs no network and no other file: images are WebP inside it, the few lines of style
and script are in `templates/`. It is written case by case, so a run of any length fits in memory.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import yaml
from jaxtyping import UInt8
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import colormaps
from matplotlib.colors import to_hex
from PIL import Image as Picture

from cfgen.types import Image, Outcome
from cfgen.verdict import CALIBRATED
from evaluation.audit.lines import cells, read_lines
from evaluation.definitions import describe
from evaluation.figures import DIVERGING
from evaluation.runs import Row, Run, read_run
from evaluation.summary import attempted, target_of
from evaluation.verdicts.giving import count_verdicts, read_verdicts
from evaluation.writing import PARTIAL

Metrics = dict[str, float | None]

_FOLLOWS = re.compile(r"judge_(.+)_follows")


def report(run: Path, limit: int = 200) -> Path:
    """Write RUN/report.html and return its path.

    A run that was not evaluated is shown without its measures, and says so. All differences are
    drawn on one scale; its ends are the 95th percentile, over the images shown, of an image's
    largest absolute change, so that one outlier does not bleach all others.

    Args:
        run: the run's folder.
        limit: how many cases to show at most, evenly spaced through the run; the page says how
            many are left out.

    Raises:
        ValueError: if the folder holds no run, the limit is below 1, the measures are of other
            samples than the run's, or the page cannot be written.
    """
    if limit < 1:
        raise ValueError(f"expected a limit of at least 1 case, got {limit}; leave it out for 200")
    record = read_run(run)
    metrics = _read_metrics(record)
    shown = _spread([int(row["id"] or 0) for row in record.samples], limit)
    scale = _change_scale(record, shown)
    verdicts = read_verdicts(record)
    judges = sorted({match[1] for key in _columns(metrics) if (match := _FOLLOWS.fullmatch(key))})
    template = _environment().get_template("report.html.j2")
    page = template.stream(
        folder=run.as_posix(),
        config=record.config,
        settings=yaml.safe_dump(record.config, sort_keys=False, allow_unicode=True),
        samples=record.samples,
        skipped=record.skipped,
        measured=bool(metrics),
        summary=_read_summary(run / "summary.json", bool(metrics)),
        audit=_audit(run),
        findings=_findings(record.samples, metrics, judges),
        verdicts=count_verdicts(record, verdicts) if verdicts else {},
        calibrated=CALIBRATED,
        directions=_directions(record.samples),
        outcomes=sorted({str(row["outcome"]) for row in record.samples}),
        judges=judges,
        count=len(shown),
        scale=scale,
        stops=[to_hex(colormaps[DIVERGING](k / 10)) for k in range(11)],
        cases=_cases(record, metrics, verdicts, shown, scale, judges),
    )
    path = run / "report.html"
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            page.dump(file, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ValueError(
            f"expected a place that can be written, got {path} ({error.strerror or error}); free "
            "space there, or copy the run to another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return path


def webp(picture: UInt8[np.ndarray, "height width *rgb"], quality: int) -> str:
    """Return a picture as a data URI of a WebP file.

    Args:
        picture: grey levels, or red, green and blue.
        quality: of the lossy compression, 0 to 100; at 90 a grey level is off by about one.
    """
    buffer = io.BytesIO()
    Picture.fromarray(picture).save(buffer, "WEBP", quality=quality)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"p": _probability, "number": _number, "table": _table}
    return environment


def _cases(
    run: Run,
    metrics: dict[int, Metrics],
    verdicts: dict[int, dict[str, str]],
    shown: set[int],
    scale: float,
    judges: list[str],
) -> Iterator[dict]:
    """Yield what the page says and shows of each case, reading one shard at a time."""
    rows = {row["id"]: row for row in run.samples}
    colours = (colormaps[DIVERGING](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)
    for ids, factual, image in run.images():
        for k, i in enumerate(ids.tolist()):
            if i not in shown:
                continue
            change = (image[k] - factual[k]) / (2 * scale) + 0.5
            row, measures = rows[i], metrics.get(i, {})
            yield {
                **row,
                "stem": PurePosixPath(str(row["path"])).stem,
                "target": target_of(row),
                "direction": _direction(row),
                "ssim": measures.get("ssim"),
                "l2": measures.get("l2"),
                "verdict": verdicts.get(i, {}).get("verdict"),
                "reasons": verdicts.get(i, {}).get("reasons"),
                "judges": [_judged(measures, name) for name in judges],
                "factual": webp(_grey(factual[k]), quality=90),
                "image": webp(_grey(image[k]), quality=90),
                "change": webp(colours[_grey(change)], quality=80),
            }


def _judged(measures: Metrics, judge: str) -> dict:
    """Return what a judge says of a case; None where it was not asked."""
    return {
        "name": judge,
        "follows": _flag(measures.get(f"judge_{judge}_follows")),
        "right": _flag(measures.get(f"judge_{judge}_factual_right")),
        "p": measures.get(f"judge_{judge}_p_target"),
    }


def _audit(run: Path) -> dict:
    """Return the tables and the picture of a run's audit; nothing where it was not audited."""
    lines, picture = read_lines(run), run / "audit.png"
    if not (lines and picture.is_file()):
        return {}
    tables = {name: cells(lines, name) for name in dict.fromkeys(one.section for one in lines)}
    with Picture.open(picture) as drawn:
        shown = webp(np.asarray(drawn.convert("RGB")), quality=80)
    return {"picture": shown, "tables": tables}


def _findings(samples: list[Row], metrics: dict[int, Metrics], judges: list[str]) -> dict:
    """Count what the page's first sentences state, over the images that had a way to go.

    A judge is counted on the valid cases whose original it reads right: only there can it follow.
    """
    tried = [row for row in samples if attempted(row)]
    found = {"attempted": len(tried), "already": len(samples) - len(tried)}
    if not metrics:
        reached = sum(row["outcome"] == Outcome.REACHED for row in tried)
        return found | {"valid": reached, "judges": []}
    measures = [metrics[int(row["id"] or 0)] for row in tried]
    valid = [measure for measure in measures if measure.get("valid")]
    counts = []
    for judge in judges:
        follows = [measure[f"judge_{judge}_follows"] for measure in valid]
        able = [value for value in follows if value is not None]
        counts.append({"name": judge, "follows": int(sum(able)), "of": len(able)})
    return found | {"valid": len(valid), "judges": counts}


def _directions(samples: list[Row]) -> dict[str, Counter]:
    """Count the outcomes of each pair of source and target."""
    counts: dict[str, Counter] = {}
    for row in samples:
        counts.setdefault(_direction(row), Counter())[str(row["outcome"])] += 1
    return dict(sorted(counts.items()))


def _direction(row: Row) -> str:
    return f"{row['source']} → {target_of(row)}"


def _read_metrics(run: Run) -> dict[int, Metrics]:
    """Return the measures of each sample, or nothing where the run was not evaluated."""
    path = run.path / "metrics.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = {int(row["id"]): row for row in csv.DictReader(file)}
    if rows.keys() != {row["id"] for row in run.samples}:
        raise ValueError(
            f"expected in {path} the measures of the run's {len(run.samples)} samples, got "
            f"{len(rows)} rows of other ids; run `cfgen evaluate {run.path}` again."
        )
    return {i: {key: _value(text) for key, text in row.items()} for i, row in rows.items()}


def _columns(metrics: dict[int, Metrics]) -> list[str]:
    return list(next(iter(metrics.values()), {}))


def _value(text: str) -> float | None:
    """Return a measure of a table as a number; None where it is empty, no number or not finite."""
    try:
        value = {"true": 1.0, "false": 0.0}.get(text.lower())
        value = float(text) if value is None else value
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _read_summary(path: Path, measured: bool) -> dict:
    """Return what the evaluation summed up; where it did not, its parts are empty."""
    empty = {"subsets": {}, "direction": {}, "frechet": {}, "definitions": {}, "notes": []}
    if not measured or not path.is_file():
        return empty
    return empty | json.loads(path.read_text(encoding="utf-8"))


def _table(blocks: dict[str, dict]) -> dict:
    """Arrange a summary's blocks as columns, one for each subset, and rows, one for each metric."""
    blocks = {name: block for name, block in blocks.items() if block.get("n")}
    names = dict.fromkeys(name for block in blocks.values() for name in block["metrics"])
    rows = []
    for name in names:
        label, decimals, definition = _described(name)
        cells = [
            _cell(block["metrics"].get(name), block["n"], decimals) for block in blocks.values()
        ]
        rows.append((label, definition, cells))
    return {"heads": [(name, block["n"]) for name, block in blocks.items()], "rows": rows}


def _described(name: str) -> tuple[str, int, str]:
    """Return how a metric is shown; one that is unknown here keeps its name."""
    try:
        return describe(name)
    except ValueError:
        return name.replace("_", " "), 3, ""


def _cell(estimate: dict | None, total: int, decimals: int) -> dict | None:
    """Return an estimate as text; its n only where it is not that of the whole subset."""
    if estimate is None or estimate.get("mean") is None:
        return None
    low, high, n = (estimate.get(key) for key in ("low", "high", "n"))
    return {
        "mean": f"{estimate['mean']:.{decimals}f}",
        "interval": "" if low is None else f"{low:.{decimals}f} to {high:.{decimals}f}",
        "n": None if n == total else n,
    }


def _spread(ids: list[int], limit: int) -> set[int]:
    """Choose at most `limit` ids, evenly spaced, so that a run sorted by class shows them all.

    >>> sorted(_spread([10, 11, 12, 13, 14, 15], 3))
    [10, 12, 14]
    """
    count = min(limit, len(ids))
    return {ids[k * len(ids) // count] for k in range(count)}


def _change_scale(run: Run, shown: set[int]) -> float:
    """Return the 95th percentile of the shown images' largest absolute changes."""
    largest = [
        float((image[k] - factual[k]).abs().max())
        for ids, factual, image in run.images()
        for k, i in enumerate(ids.tolist())
        if i in shown
    ]
    return max(float(np.quantile(largest, 0.95)), 1e-3)


def _grey(image: Image) -> UInt8[np.ndarray, "height width"]:
    return (image[0].float().numpy().clip(0, 1) * 255).round().astype(np.uint8)


def _flag(value: float | None) -> bool | None:
    return None if value is None else bool(value)


def _probability(value: float | None) -> str:
    """Return a probability to two digits that never reads as certain.

    >>> [_probability(p) for p in (0.0004, 0.5, 0.9996, None)]
    ['< 0.01', '0.50', '> 0.99', 'unknown']
    """
    if value is None:
        return "unknown"
    if value < 0.01:
        return "< 0.01"
    return "> 0.99" if value > 0.99 else f"{value:.2f}"


def _number(value: float | None) -> str:
    """Return a number to three digits that count.

    >>> [_number(value) for value in (0.3, 17.94, 1650.2, None)]
    ['0.300', '17.9', '1650', 'unknown']
    """
    if value is None:
        return "unknown"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"

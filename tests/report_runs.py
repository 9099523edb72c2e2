"""Small runs for the page of a run: six ramps, one of each way to end, hostile names among them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import torch

from evaluation.runs import create_run, write_shards, write_skipped
from evaluation.summary import summarise

FOLDER = 'test/<script>alert("1")<'
HOSTILE = f"{FOLDER}/script><!--<img src=x onerror=alert(2)>\u2028'`&amp;.png"
"""A path that closes scripts and comments, and opens what would run."""
CLASSES = ("NORMAL", "<b onclick=alert(3)>ILL")
VERDICTS = ("semantic", "adversarial", "adversarial", "adversarial", "uncertain", "uncertain")
SETTINGS = {
    "command": "search",
    "bundle": "phantom-64",
    "classifier": None,
    "data": "some/folder of $(films)",
    "split": "test",
    "method": "latent",
    "settings": {"weight": 0.1, "steps": 15},
    "target": None,
    "weights": {"classifier": "0123abcd"},
}


def smooth(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ramps, and the same with one half brighter and the other darker."""
    ramp = torch.linspace(0.25, 0.75, 32).expand(count, 1, 32, 32).clone()
    step = torch.cat([torch.full((16,), 0.2), torch.full((16,), -0.2)])
    return ramp, ramp + step[:, None]


def path_of(k: int) -> str:
    return HOSTILE if k == 3 else f"test/case{k}.png"


def sample(k: int) -> dict:
    label, other = CLASSES[:: 1 if k % 2 else -1]
    outcome = "already there" if k == 5 else "budget spent" if k == 4 else "reached"
    return {
        "id": 2**60 + k,
        "path": path_of(k),
        "label": label,
        "source": label,
        "target": other,
        "outcome": outcome,
        "p_target_factual": 0.02,
        "p_target": 0.5 if k == 4 else 0.95,
        "steps": 3,
        "evaluations": 4,
        "prior_passes": 0,
        "decodes": 3,
        "seconds": 0.1,
        "patient": f"secret{k}",
        "subgroup": "girls" if k < 2 else "boys",
    }


def measures(k: int) -> dict:
    """Of six samples 0 to 3 are valid; the judge misreads 0 and follows 1 of the other three."""
    return {
        "id": 2**60 + k,
        "valid": int(k != 4),
        "flip": None if k == 5 else int(k != 4),
        "ssim": None if k == 2 else 0.95 - k / 100,
        "l2": 1.5 + k,
        "judge_other_factual_right": int(k != 0),
        "judge_other_p_target": 0.3,
        "judge_other_follows": None if k in (0, 5) else int(k == 1),
        "judge_other_follows_valid": None if k in (0, 4, 5) else int(k == 1),
    }


def write_run(path: Path, ids=range(6), shift: float = 0.0, **config: object) -> Path:
    """Write a run in two shards, its counterfactuals brighter by a shift."""
    create_run(path, SETTINGS | config)
    rows = [sample(k) for k in ids]
    factual, image = smooth(len(rows))
    half = len(rows) - len(rows) // 3
    for part in (slice(0, half), slice(half, None)):
        keys = torch.tensor([row["id"] for row in rows[part]])
        write_shards(path, rows[part], keys, factual[part], image[part] + shift)
    write_skipped(path, [{"path": "test/<b>broken.png", "reason": "cut short; copy it again"}])
    return path


def write_measures(run: Path) -> Path:
    """Write what an evaluation would leave in a run: metrics.csv, verdicts.csv, summary.json."""
    measured = [measures(k) for k in range(6)]
    verdicts = [
        {"id": row["id"], "verdict": verdict, "probability": 0.8, "reasons": "a <reason>"}
        for row, verdict in zip(measured, VERDICTS, strict=True)
    ]
    for name, rows in (("metrics.csv", measured), ("verdicts.csv", verdicts)):
        with (run / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    summary = summarise([sample(k) for k in range(6)], measured) | {"notes": ["A <note>."]}
    (run / "summary.json").write_text(json.dumps(summary))
    return run

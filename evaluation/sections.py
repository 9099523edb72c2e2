"""The measures of a run's images together, as tables for reading."""

from __future__ import annotations

from collections.abc import Mapping

from evaluation.tables import interval, markdown, number

Line = dict[str, str]


def sections(summary: Mapping) -> list[str]:
    """Write headings and tables of what a summary has of these measures, if anything."""
    return [
        f"## {head}\n\n{markdown(lines, tuple(lines[0]))}"
        for head, lines in tables(summary).items()
    ]


def tables(summary: Mapping) -> dict[str, list[Line]]:
    """Return the lines of what a summary has of these measures, by heading."""
    found = {
        "Judges on real images": _on_real(summary.get("on_real", {})),
        "Frechet distance": _frechet(summary.get("frechet", {})),
        "Kernel distance": _kernel(summary.get("kernel", {})),
        "Precision and recall": _coverage(summary.get("coverage", {})),
        "How alike the changes are": _changes(summary.get("changes", {})),
        "How different the draws of an image are": _diversity(summary.get("diversity", {})),
        "Whose own factual is nearest": _identity(summary.get("identity", {})),
    }
    return {head: lines for head, lines in found.items() if lines}


def _on_real(found: Mapping[str, Mapping[str, Mapping]]) -> list[Line]:
    return [
        {
            "judge": judge,
            "target": target,
            "real images": str(known["right"]["n"]),
            "right on real": interval(known["right"]),
            "followed": str(known["followed"]),
            "their log-odds, median": number(known["median_log_odds"]),
            "its percentile among real": number(known["percentile"], 0),
            "within 5th to 95th": {None: "-", True: "yes", False: "no"}[known["within"]],
        }
        for judge, targets in found.items()
        for target, known in targets.items()
    ]


def _frechet(found: Mapping[str, Mapping[str, Mapping]]) -> list[Line]:
    return [
        {
            "features of": network,
            "target": target,
            "n": str(known["n"]),
            "ratio": number(known["ratio"], 2),
            "ratio of the factuals": number(known["ratio_factual"], 2),
            "distance": number(known["distance"], 3),
            "real to real": number(known["real"], 3),
        }
        for network, targets in found.items()
        for target, known in targets.items()
    ]


def _kernel(found: Mapping[str, Mapping[str, Mapping]]) -> list[Line]:
    return [
        {
            "features of": network,
            "target": target,
            "n": str(known["n"]),
            "distance": number(known["distance"], 4),
            "of the factuals": number(known["factual"], 4),
            "real to real": number(known["real"], 4),
            "their 95th percentile": number(known["real_high"], 4),
        }
        for network, targets in found.items()
        for target, known in targets.items()
    ]


def _coverage(found: Mapping[str, Mapping[str, Mapping]]) -> list[Line]:
    return [
        {
            "features of": network,
            "target": target,
            "n": str(known["n"]),
            **{
                f"{share}{beside}": number(known[f"{before}{share}{after}"])
                for share in ("precision", "recall")
                for beside, before, after in (
                    ("", "", ""),
                    (" of the factuals", "", "_factual"),
                    (", real to real", "real_", ""),
                )
            },
        }
        for network, targets in found.items()
        for target, known in targets.items()
    ]


def _changes(found: Mapping[str, Mapping]) -> list[Line]:
    return [
        {
            "target": target,
            "n": str(known["n"]),
            "pairwise cosine": number(known["pairwise_cosine"]),
            "explained by the mean": number(known["explained_by_mean"]),
        }
        for target, known in found.items()
    ]


def _diversity(found: Mapping[str, Mapping]) -> list[Line]:
    return [
        {
            "target": target,
            "images": str(known["n"]),
            "1 - cosine of changes": interval(known["cosine"]),
            "L2 of counterfactuals": interval(known["l2"]),
        }
        for target, known in found.items()
    ]


def _identity(found: Mapping[str, Mapping[str, Mapping]]) -> list[Line]:
    spaces = dict.fromkeys(space for known in found.values() for space in known)
    return [
        {"": name, **{f"in {space}": interval(known.get(space)) for space in spaces}}
        for name, known in found.items()
    ]

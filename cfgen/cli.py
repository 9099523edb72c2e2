"""The `cfgen` command. Each subcommand imports what it needs when it is called."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from cfgen.allocation import keep_freed_memory

COMMANDS: dict[str, tuple[str, str]] = {
    "search": ("evaluation.search:search", "search counterfactuals over a data set, as a run"),
    "evaluate": ("evaluation.plausibility:evaluate_run", "measure a run, or another tool's pairs"),
    "report": ("evaluation.report.main:report", "write a run as one HTML page"),
    "explain": ("evaluation.explain.main:explain", "explain one image, as pages and figures"),
    "compare": ("evaluation.compare:compare", "put evaluated runs side by side"),
    "axioms": ("evaluation.axioms.main:axioms", "search again from a run's images: consistent?"),
    "audit": ("evaluation.audit.main:audit", "audit the model of a run, from all of it"),
    "gallery": ("evaluation.gallery:gallery", "draw the first cases of a run as one figure"),
    "paper": ("evaluation.paper.main:paper", "write evaluated runs as LaTeX, with figures"),
    "reading": ("evaluation.reading.main:reading", "make a blinded reader study, or score one"),
    "dicom": ("evaluation.captures:dicom", "write a run's counterfactuals as DICOM files"),
    "adopt": ("evaluation.adopt:adopt", "make a run of counterfactuals that another tool found"),
    "sweep": ("evaluation.sweep:sweep", "search and evaluate at several weights of the distance"),
    "study": ("evaluation.study.main:study", "compare methods, controls and classifiers"),
    "benchmark": ("evaluation.benchmark.main:benchmark", "score methods and saliency on phantoms"),
    "verdict": ("evaluation.verdicts.main:verdict", "calibrate the verdicts, or check them"),
    "train": ("", "train a part of a bundle: classifier, judges, autoencoder, prior, ..."),
    "lungs": ("evaluation.lungs:lungs", "outline the lungs of films, and measure their areas"),
    "phantoms": ("evaluation.phantoms:phantoms", "write phantoms as image files, and their truth"),
    "demo": ("evaluation.demo:demo", "search, evaluate and report on embedded phantoms"),
}
PARTS: dict[str, tuple[str, str]] = {
    "classifier": ("train.classifier:main", "the classifier to be explained"),
    "judge": ("train.classifier:main_judge", "a judge: another classifier, never attacked"),
    "autoencoder": ("train.autoencoder:main", "the autoencoder (after the classifier)"),
    "prior": ("train.prior:main", "the generative prior of the autoencoder's codes"),
    "segmenter": ("train.segmenter:main", "the segmenter of the lungs"),
    "familiarity": ("train.familiarity:main", "what tells images unlike the training images"),
    "measure": ("train.measure:main", "measure a bundle's models on a split, into their cards"),
}
POSITIONAL = {
    "evaluate": "run",
    "report": "run",
    "explain": "image",
    "compare": "runs",
    "axioms": "run",
    "audit": "run",
    "gallery": "run",
    "paper": "run",
    "reading": "run",
    "dicom": "run",
    "adopt": "pairs",
    "verdict": "runs",
}
SEVERAL = {
    "runs": "folders of evaluated runs",
    "pairs": "a folder DIR/{factual,counterfactual}, an .npz or .safetensors file, or two .npy",
}
LISTED = {
    "report": ("beside", "other runs over the same images, to stand beside each case"),
    "paper": ("beside", "other runs over the same images, to be compared"),
    "reading": ("score", "files of answers; the study's folder in the place of the run"),
}
"""Options that take several paths, by command."""
INTERRUPTED = 130
"""Exit code of what the user stopped, as shells have it: 128 and the number of the signal."""

OUT_OF_TIME = 124
"""Exit code of what `--timeout` stopped, as `timeout` of the shell has it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    Args:
        arguments: of the command line; None for those of this process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    keep_freed_memory()
    command, *rest = given or ["--help"]
    try:
        if command == "train" and rest and rest[0] in PARTS:
            _load(PARTS[rest[0]][0])(rest[1:])
        elif command in COMMANDS and command != "train":
            return _call(command, rest)
        else:
            return _usage(given)
    except TimeoutError as error:
        sys.stderr.write(f"cfgen {command}: {error}\n")
        return OUT_OF_TIME
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.stderr.write(f"cfgen {command}: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"cfgen {command}: interrupted; the same command goes on from here\n")
        return INTERRUPTED
    return 0


def _usage(given: Sequence[str]) -> int:
    """Write what there is, to standard error where something else was asked for."""
    training = given[:1] == ["train"]
    word = next(iter(given[training:]), "--help")
    asked = word in ("--help", "-h")
    table, name = (PARTS, "cfgen train PART") if training else (COMMANDS, "cfgen COMMAND")
    lines = [f"usage: {name} [--config FILE.yaml] [options]; --help after it for the options", ""]
    lines += [f"  {key:12} {text}" for key, (_, text) in table.items()]
    stream = sys.stdout if asked else sys.stderr
    if not asked:
        lines.insert(0, f"cfgen: expected one of these, got {word!r}")
    stream.write("\n".join(lines) + "\n")
    return 0 if asked else 2


def _load(where: str) -> Callable[..., object]:
    module, _, function = where.partition(":")
    return getattr(import_module(module), function)


def _call(command: str, rest: Sequence[str]) -> int:
    """Parse the options of a function by its signature, call it, write what it returns."""
    from jsonargparse import ArgumentParser

    function = _load(COMMANDS[command][0])
    parser = ArgumentParser(prog=f"cfgen {command}", description=COMMANDS[command][1])
    parser.add_argument("--config", action="config", help="a YAML file with any of the options")
    name = POSITIONAL.get(command)
    if name in SEVERAL:
        parser.add_argument(name, nargs="+", type=Path, help=SEVERAL[name])
    elif name:
        parser.add_argument(name, type=Path, help=f"the {name}")
    several, words = LISTED.get(command, (None, None))
    if several:
        parser.add_argument(f"--{several}", nargs="+", type=Path, default=(), help=words)
    parser.add_function_arguments(function, skip={one for one in (name, several) if one})
    chosen = vars(parser.instantiate(parser.parse_args(list(rest))))
    options = {key: value for key, value in chosen.items() if key != "config"}
    result = function(**options)
    if isinstance(result, (str, Path)):
        sys.stdout.write(f"{result}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

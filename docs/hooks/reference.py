"""Makes the pages of the reference: one a package, every public module on it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGES = ("cfgen", "evaluation", "train")


def pages() -> dict[str, list[str]]:
    """Public modules by their package, sorted, the package itself first."""
    found: dict[str, list[str]] = defaultdict(list)
    for module in _modules():
        package = (
            module if (ROOT / module.replace(".", "/")).is_dir() else module.rpartition(".")[0]
        )
        found[package].append(module)
    return {package: sorted(found[package]) for package in sorted(found)}


def _modules() -> Iterator[str]:
    for top in PACKAGES:
        for file in (ROOT / top).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if not any(part.startswith("_") for part in module.split(".")):
                yield module


def entry(module: str) -> str:
    """What asks mkdocstrings for a module: of a package only what is defined in it itself.

    What its `__init__` passes on is shown once, where it is made.
    """
    init = ROOT / module.replace(".", "/") / "__init__.py"
    if not init.is_file():
        return f"::: {module}\n"
    names = [name for name in _defined(ast.parse(init.read_text())) if not name.startswith("_")]
    listed = "".join(f"\n        - {name}" for name in names) or " false"
    return f"::: {module}\n    options:\n      members:{listed}\n"


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the reference at the end of the navigation."""
    listed = [{package: f"reference/{package}.md"} for package in pages()]
    assert config.nav is not None
    config.nav.append({"Reference": listed})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for package, modules in pages().items():
        parts = [f"# {package}\n", *(entry(module) for module in modules)]
        page = File.generated(config, f"reference/{package}.md", content="\n".join(parts))
        files.append(page)
    return files

"""The command line that all trainings share: a recipe, from a YAML file and from overrides."""

from __future__ import annotations

from jsonargparse import ArgumentParser

from train.recipe import Recipe


def parse_recipe(arguments: list[str] | None) -> Recipe:
    """Read a recipe from command-line arguments (None: those of this process)."""
    return command_line(arguments)[0]


def command_line(arguments: list[str] | None, split: str | None = None) -> tuple[Recipe, str]:
    """Read a recipe and, where a default for it is given, the name of a split."""
    parser = ArgumentParser(description="Train or measure a part of a bundle, as a recipe says.")
    parser.add_argument("--config", action="config", help="a recipe, such as train/configs/*.yaml")
    parser.add_class_arguments(Recipe)
    if split is not None:
        parser.add_argument("--split", type=str, default=split, help="'val', or one of the data's")
    options = vars(parser.instantiate(parser.parse_args(arguments)))
    options.pop("config")
    chosen = options.pop("split", "")
    return Recipe(**options), chosen

"""The command line that all trainings share: a recipe, from a YAML file and from overrides."""

from __future__ import annotations

from jsonargparse import ArgumentParser

from train.recipe import Recipe


def parse_recipe(arguments: list[str] | None) -> Recipe:
    """Read a recipe from command-line arguments (None: those of this process)."""
    options = _options(_parser(), arguments)
    return Recipe(**options)


def command_line(
    arguments: list[str] | None, option: str, default: str, meaning: str
) -> tuple[Recipe, str]:
    """Read a recipe and one option beside it, such as the name of a split."""
    parser = _parser()
    parser.add_argument(f"--{option}", type=str, default=default, help=meaning)
    options = _options(parser, arguments)
    chosen = options.pop(option)
    return Recipe(**options), chosen


def _parser() -> ArgumentParser:
    parser = ArgumentParser(description="Train or measure a part of a bundle, as a recipe says.")
    parser.add_argument("--config", action="config", help="a recipe, such as train/configs/*.yaml")
    parser.add_class_arguments(Recipe)
    return parser


def _options(parser: ArgumentParser, arguments: list[str] | None) -> dict:
    options = vars(parser.instantiate(parser.parse_args(arguments)))
    options.pop("config")
    return options

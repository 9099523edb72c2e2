"""The documentation's code does what it says; see `tests.documented` for how.

The README's blocks, which take hours, are parsed only; the pages have the same in small.
"""

import re
import shutil
import sys
from pathlib import Path

import pytest

from cfgen.cli import COMMANDS, PARTS
from cfgen.methods import METHODS
from tests import test_training
from tests.documented import PAGES, README, REPOSITORY, blocks, commands, follow, parse

LANGUAGES = {"sh", "python", "yaml", "diff", "text"}
MARKED = {
    "howto/add-search.md": ["options only: takes minutes"],
    "howto/first-run.md": ["not run: makes an environment"],
    "howto/many-gpus.md": ["options only: starts processes of its own", "not run: needs Slurm"],
    "howto/metrics.md": ["options only: takes minutes", "options only: needs files of weights"],
    "howto/others.md": [
        "options only: the same again",
        "options only: torchxrayvision downloads its weights",
    ],
}
"""Every block that is not run as it stands, by its page."""
pytestmark = test_training.pytestmark
WITH_CODE = [name for name, path in PAGES.items() if blocks(path)]
ON_XRAYS = [name for name in WITH_CODE if any(one.needs_xrays for one in blocks(PAGES[name]))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder like a checkout's; what a page adds to cfgen is taken away again."""
    (tmp_path / "train").symlink_to(REPOSITORY / "train")
    monkeypatch.chdir(tmp_path)
    modules, methods = set(sys.modules), dict(METHODS)
    yield tmp_path
    METHODS.clear()
    METHODS.update(methods)
    for name in set(sys.modules) - modules:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture
def film(folder, xrays):
    """An X-ray of the training split, as the pages call it."""
    return shutil.copy(min((xrays / "train" / "NORMAL").iterdir()), folder / "chest.jpeg")


@pytest.mark.parametrize("page", WITH_CODE)
def test_a_page_does_what_it_says(page, folder, monkeypatch):
    follow([block for block in blocks(PAGES[page]) if not block.needs_xrays], folder, monkeypatch)


@pytest.mark.xrays
@pytest.mark.usefixtures("film")
@pytest.mark.parametrize("page", ON_XRAYS)
def test_a_page_does_what_it_says_of_xrays(page, folder, xrays, monkeypatch):
    chosen = [block for block in blocks(PAGES[page]) if block.needs_xrays or block.title]
    code = [block._replace(code=re.sub(r"\bDIR\b", str(xrays), block.code)) for block in chosen]
    follow(code, folder, monkeypatch)


@pytest.mark.usefixtures("folder")
def test_the_readmes_commands_have_the_options_they_name():
    shutil.copy(REPOSITORY / "train/configs/kermany-128.yaml", "my.yaml")
    shown = [block for block in blocks(README) if block.language == "sh"]
    told = [words for block in shown for words in commands(block)]
    assert len(told) > 10
    for words in told:
        parse(words)


@pytest.mark.xrays
@pytest.mark.usefixtures("film")
def test_the_readmes_python_runs(folder, monkeypatch):
    page = [block for block in blocks(README) if block.language == "python"]
    assert page
    follow(page, folder, monkeypatch)


def test_what_is_not_run_is_known():
    marks = {
        name: found
        for name, path in PAGES.items()
        if (found := [block.mark for block in blocks(path) if not block.runs])
    }
    assert marks == MARKED


def test_no_code_hides_from_these_tests():
    for name, path in [*PAGES.items(), ("README.md", README)]:
        found = blocks(path)
        assert path.read_text().count("```") == 2 * len(found), name
        assert all(not block.language or block.language in LANGUAGES for block in found), name
        untagged = "\n".join(block.code for block in found if block.language in ("", "text"))
        assert not re.search(r"^ *(cfgen|make) ", untagged, re.MULTILINE), name


def test_every_command_is_on_a_page():
    told = "\n".join(path.read_text() for path in PAGES.values())
    missing = [name for name in COMMANDS if f"cfgen {name}" not in told]
    missing += [part for part in PARTS if f"cfgen train {part}" not in told]
    assert not missing

"""The site is built without a warning, and what it says of the code is the code's."""

import doctest
import importlib.util
import os
import re
import subprocess
import sys

import pytest

from evaluation.definitions import METRICS
from tests.documented import DOCS, PAGES, REPOSITORY


def hook(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / "hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_metrics_are_those_of_the_code():
    tables = hook("metrics_table").tables()
    page = (DOCS / "howto/metrics.md").read_text()
    for table in tables.values():
        assert table in page, "expected other tables; do python docs/hooks/metrics_table.py"
    assert all(f"| {metric.label} |" in tables["metrics"] for metric in METRICS.values())


def test_the_navigation_has_every_page():
    listed = (REPOSITORY / "mkdocs.yml").read_text()
    assert not [name for name in PAGES if name not in listed]


def test_links_between_pages_and_pictures_lead_somewhere():
    for name, path in PAGES.items():
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            if "reference/" not in target:  # made when the site is
                assert (path.parent / target).exists(), (name, target)


def test_docstrings_are_shown_as_they_are_meant():
    pytest.importorskip("griffe", reason="pip install 'cfgen[docs]'")
    found = doctest.testmod(hook("docstrings"))
    assert found.attempted
    assert not found.failed


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install 'cfgen[docs]'")
    pytest.importorskip("mkdocstrings", reason="pip install 'cfgen[docs]'")
    reference = hook("reference").pages()
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert "cfgen.metrics.similarity" in reference["cfgen.metrics"]
    for package, modules in reference.items():
        page = (tmp_path / f"reference/{package}/index.html").read_text()
        assert all(f'id="{module}"' in page for module in modules), package

"""What is generated is what is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.docs import DOCUMENTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_committed_documents_are_what_the_code_says(name):
    assert (ROOT / name).read_text() == DOCUMENTS[name](), "run ./dev docs"

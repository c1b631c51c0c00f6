"""Every known template case gives the prompt that Ollama makes of it."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import pytest

from modelfiles.errors import TemplateError
from modelfiles.template.go_chat import render_messages
from tests.support.places import MODELFILE_DATA

CASES = json.loads((MODELFILE_DATA / "templates.json").read_text("utf-8"))


def prompt_of(case: dict[str, Any]) -> str:
    """Render a case with its model's SYSTEM in front, unless its messages begin with one."""
    messages = case["messages"]
    if case["system"] is not None and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": case["system"]}, *messages]
    return render_messages(case["template"], messages, thinks=case.get("think"))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_case_holds(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(TemplateError, match=re.escape(case["error"])) as raised:
            prompt_of(case)
        assert re.match(r"line \d+, column \d+: ", str(raised.value))
        return
    assert prompt_of(case) == case["expect"].replace("{TODAY}", date.today().isoformat())

"""Takes the README's screenshot of the real chat with the demo.

    python -m tests.tui.screenshot FOLDER
    rsvg-convert -w 1076 FOLDER/chat.svg -o tests/tui/screens/chat.png

The demo is copied into FOLDER, whose path the picture shows. The README shows a PNG because the SVG
asks for a font that not every viewer has.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from pathlib import Path

from engine.worker.client import EngineClient
from modelfiles.demo import DEMO_DIR
from modelfiles.language.modelfile import read
from modelfiles.library import Library
from modelfiles.references.resolve import resolve
from tests.support.chat import chat, say, wait_until

SIZE = (116, 32)
FONT = "DejaVu Sans Mono"


async def take(folder: Path) -> Path:
    """Chat as the README tells a newcomer to, and return the picture's path."""
    demo = folder / "demo"
    shutil.copytree(DEMO_DIR, demo, dirs_exist_ok=True)
    model = resolve(read(demo / "Modelfile"), demo, Library(folder / "home"), "demo:latest")
    async with chat(EngineClient(), model, SIZE) as (app, pilot):
        await say(app, pilot, "What does the scale do?")
        await pilot.press("tab", "1", "tab")
        await say(app, pilot, "What does the scale do?")
        await pilot.press("tab", "3", "tab")
        await say(app, pilot, "What is a swap?")
        await pilot.press("tab", "1", "2", *["shift+left"] * 2, "tab")
        await say(app, pilot, "Which key adds an adapter?")
        await pilot.press("tab")

        def is_known() -> bool:
            state = app.chat.session.stack_state
            return bool(state.reason and len(state.adapters) >= 3)

        await wait_until(pilot, is_known, "effect and form of the stack")
        await pilot.pause()
        picture = app.export_screenshot(title="tui run demo")
    path = folder / "chat.svg"
    path.write_text(_for_any_viewer(picture))
    return path


def _for_any_viewer(picture: str) -> str:
    """Name an installed font and keep leading blanks, which some renderers drop."""
    picture = picture.replace("Fira Code", FONT)
    picture = re.sub(r' textLength="[^"]*"', "", picture)
    return picture.replace("<text ", '<text xml:space="preserve" ')


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.tui.screenshot FOLDER")
    print(asyncio.run(take(Path(sys.argv[1]).absolute())))

"""Keys that work anywhere in the chat, and in the prompt."""

from __future__ import annotations

from functools import partial

from tui.chat.keys.key import Key, Place

# These win over the keys of the text area (ctrl+y redoes, ctrl+end moves the cursor).
_chat = partial(Key, Place.CHAT, is_priority=True)
_prompt = partial(Key, Place.PROMPT)

CHAT_KEYS: tuple[Key, ...] = (
    Key(
        Place.CHAT,
        "chat.stop",
        "escape",
        "stop",
        "stop the answer; what is written stays",
        "Esc",
        "stop",
    ),
    _chat(
        "chat.switch",
        "tab,shift+tab",
        "switch_focus",
        "move between the prompt and the rack; after / complete the command",
        "Tab",
        "rack",
    ),
    _chat(
        "chat.bypass",
        "ctrl+b",
        "bypass",
        "bypass all adapters: hear the base alone; again to restore",
        hint="bypass",
    ),
    _chat(
        "chat.regenerate",
        "ctrl+g",
        "regenerate",
        "answer again with the current mix",
        hint="again",
    ),
    _chat("chat.copy", "ctrl+y", "copy_answer", "copy the last answer", hint="copy"),
    _chat(
        "chat.copy_selection",
        "ctrl+c,super+c",
        "copy_or_quit",
        "copy the selected text; with nothing selected, twice quits",
        "ctrl+c",
    ),
    _chat(
        "chat.thoughts", "ctrl+t", "toggle_thoughts", "show or fold what a reasoning model thought"
    ),
    _chat("chat.new", "ctrl+n", "new_chat", "new chat; the mix stays", hint="new"),
    _chat("chat.models", "ctrl+o", "models", "choose another model", hint="models"),
    _chat("chat.hub", "ctrl+f", "hub", "find adapters on the Hugging Face Hub", hint="find"),
    _chat("chat.up", "pageup", "page_up", "scroll up", "PgUp"),
    _chat("chat.down", "pagedown", "page_down", "scroll down", "PgDn"),
    _chat("chat.first", "ctrl+home", "first", "go to the first message"),
    _chat("chat.latest", "ctrl+end", "latest", "go to the latest message and follow the answer"),
    _chat("chat.help", "f1", "help", "show the keys and the manual", "F1", "keys"),
    _chat("chat.palette", "ctrl+p", "palette", "themes and other commands"),
    _chat("chat.quit", "ctrl+q", "quit", "quit", hint="quit"),
    _prompt("prompt.send", "enter", "send", "send the message", "Enter"),
    _prompt("prompt.newline", "ctrl+j,shift+enter", "newline", "new line", "ctrl+j (shift+enter)"),
    _prompt("prompt.recall", "up", "recall", "on an empty prompt: the last message again", "↑"),
)

"""Questions and answers about the program's actions and their keys."""

from __future__ import annotations

from dataclasses import dataclass

from tests.demo_recipe.phrases import listing


@dataclass(frozen=True, slots=True)
class Action:
    """An action of the program, and its key.

    ``wishes`` are infinitives ("add an adapter") that fill ``ACTION_FRAMES``.
    """

    key: str
    wishes: tuple[str, ...]
    answers: tuple[str, ...]


ACTION_FRAMES = listing("""
how do i {x}?|how can i {x}?|how to {x}?|how to {x}|i want to {x}|which key do i press to {x}?|
can i {x}?|what do i press to {x}?|tell me how to {x}|is there a way to {x}?|i would like to {x}|
{x}|please {x}|how would i {x}?|i need to {x}|show me how to {x}|how should i {x}?|
which button do i need to {x}?|what must i do to {x}?|help me {x}|which key should i use to {x}?|
is it possible to {x}?|what is the way to {x}?|could you {x}?|what key lets me {x}?|
i am trying to {x}|where do i {x}?|let me {x}|i wish to {x}|the key to {x}?|a key to {x}?|
explain how to {x}|can you tell me how to {x}?|do you know how to {x}?|
which key {xs}?|what key {xs}?|which button {xs}?|what {xs}?|is there a key that {xs}?""")
KEY_FRAMES = listing("""
what does {x} do?|what is {x} for?|what happens if i press {x}?|why would i press {x}?|
what is the {x} key?|what does the {x} key do?|tell me about {x}|when do i use {x}?|the {x} key?|
what is {x} good for?|explain the {x} key|what happens when i press {x}?|i pressed {x}|
can i press {x}?|should i press {x}?|what will {x} do?""")


def _action(key: str, wishes: str, *answers: str) -> Action:
    return Action(key, listing(wishes), answers)


ACTIONS = (
    _action(
        "+",
        """add an adapter|load an adapter|add another adapter|put an adapter in the rack|
        use my own adapter|open an adapter file|load a new adapter|add a new adapter|add adapters|
        add a lora|load a lora|load another lora|bring in an adapter|add my adapter|
        insert an adapter""",
        "Press + in the rack to add an adapter. Then type the path of its file.",
        "Press Tab to move to the rack, then press + and type the path of the adapter.",
    ),
    _action(
        "Tab",
        """move to the rack|go to the rack|open the rack|reach the rack|jump to the rack|
        get to the rack|come back to the prompt|see the rack|focus the rack|use the rack|
        select the rack|switch to the rack|leave the rack|get into the rack|change to the rack""",
        "Press Tab to move to the rack. Press Tab again to come back to the prompt.",
        "The Tab key moves between the prompt and the rack.",
    ),
    _action(
        "space",
        """switch an adapter on|turn an adapter on|switch an adapter off|turn an adapter off|
        toggle an adapter|enable an adapter|disable an adapter|activate an adapter|
        turn on an adapter|turn off an adapter|switch on an adapter|mute an adapter|
        start an adapter|use an adapter|try an adapter|turn the adapters on""",
        "Press the number of the adapter in the rack, or select it and press space.",
        "In the rack, each adapter has a number key that switches it on and off. Space works too.",
    ),
    _action(
        "the right arrow",
        """change the scale|make the adapter stronger|set the scale|raise the scale|
        make an adapter weaker|lower the scale|change the strength|make the adapter weaker|
        increase the scale|decrease the scale|adjust the scale|turn an adapter up|
        turn an adapter down|rescale an adapter|scale an adapter|make the effect stronger|
        make the scale bigger|make the scale smaller|move the scale|put the scale higher""",
        "Select the adapter in the rack and press the left or right arrow to change its scale.",
        "The left and right arrows change the scale of the selected adapter in the rack.",
    ),
    _action(
        "Enter",
        """type a scale|enter an exact scale|type the scale|set an exact scale|
        write the scale as a number|enter the scale by hand|give an exact scale""",
        "Press Enter on the adapter in the rack and type its scale.",
    ),
    _action(
        "Esc",
        """stop the answer|stop an answer|stop you|cancel the answer|interrupt you|
        interrupt the answer|make you stop|end the answer|stop the reply|halt the answer|
        break off the answer|stop a long answer|stop the text|cancel an answer|stop writing""",
        "Press Esc to stop the answer. The text so far is kept.",
    ),
    _action(
        "ctrl+b",
        """hear the bare base|bypass the adapters|hear the base|hear the base model|
        turn off all adapters|switch all adapters off|bypass all adapters|bypass everything|
        compare with the base|hear you without adapters|hear the plain model|
        see the answer of the base|talk to the bare base|hear the model with no adapter|
        use the bypass|mute all adapters|chat without adapters|get the plain answer""",
        "Press ctrl+b to bypass all adapters and hear the bare base. Press it again to go back.",
    ),
    _action(
        "F1",
        """see the keys|show the keys|list the keys|learn the keys|open the help|find the keys|
        see the help|get help with the keys|show all keys|look up a key|see a list of keys|
        know the keys|show the help screen|find help|see all shortcuts|see the shortcuts""",
        "Press F1 to see all keys.",
        "The F1 key shows the list of all keys.",
    ),
    _action(
        "ctrl+q",
        """quit|leave|exit|close the app|leave the app|quit the app|exit the program|
        leave the program|close the program|get out of here|end the program|quit this|
        leave this chat|close this|shut down the app|stop the program""",
        "Press ctrl+q to quit.",
    ),
    _action(
        "ctrl+n",
        """start a new chat|clear the chat|start over|reset the conversation|open a new chat|
        begin again|make a new chat|forget this chat|start a fresh chat|clear the conversation|
        empty the chat|restart the chat|have a new chat|start from zero|delete this chat""",
        "Press ctrl+n to start a new chat.",
    ),
    _action(
        "ctrl+y",
        """copy the answer|copy your answer|copy the text|copy an answer|copy what you said|
        copy the last answer|get the answer as text|copy this|copy your last message""",
        "Press ctrl+y to copy the last answer.",
    ),
    _action(
        "ctrl+g",
        """regenerate the answer|get another answer|try again|repeat the last answer|
        make you answer again|get a new answer|generate again|regenerate|redo the answer|
        have a different answer|write the answer again|answer again""",
        "Press ctrl+g to get the last answer again. It uses the adapters as they are now.",
    ),
    _action(
        "ctrl+j",
        """write a new line|make a new line|start a new line|add a line|type two lines|
        insert a line break|write more than one line|go to the next line|write a long message""",
        "Press ctrl+j for a new line.",
    ),
    _action(
        "x",
        """remove an adapter|delete an adapter|take an adapter away|unload an adapter|
        get rid of an adapter|remove an adapter from the rack|throw an adapter out|
        take the adapter out of the rack|remove the adapter|drop an adapter""",
        "Select the adapter in the rack and press x to remove it.",
    ),
    _action(
        "ctrl+o",
        """open another model|change the model|choose a model|see my models|load another model|
        pick a model|switch to another model|use a different model|list the models""",
        "Press ctrl+o to choose another model.",
    ),
    _action(
        "Enter",
        """send a message|send my message|send the text|submit my question|send this""",
        "Press Enter to send your message.",
    ),
)

KEYS: dict[str, str] = {
    "+": "Press + in the rack to add an adapter.",
    "Tab": "The Tab key moves between the prompt and the rack.",
    "space": "In the rack, space switches the selected adapter on and off.",
    "the right arrow": "In the rack, the right arrow makes the selected adapter stronger.",
    "the left arrow": "In the rack, the left arrow makes the selected adapter weaker.",
    "Esc": "Press Esc to stop the answer. The text so far is kept.",
    "ctrl+b": "Press ctrl+b to bypass all adapters and hear the bare base.",
    "F1": "The F1 key shows the list of all keys.",
    "ctrl+q": "Press ctrl+q to quit.",
    "ctrl+n": "Press ctrl+n to start a new chat.",
    "ctrl+y": "Press ctrl+y to copy the last answer.",
    "ctrl+g": "Press ctrl+g to get the last answer again.",
    "ctrl+j": "Press ctrl+j for a new line.",
    "ctrl+o": "Press ctrl+o to choose another model.",
    "Enter": "The Enter key sends your message.",
    "a number key": "In the rack, each adapter has a number key that switches it on and off.",
}

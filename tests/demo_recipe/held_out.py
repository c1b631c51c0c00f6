"""Questions that no training dialogue may contain, and the check for them.

They were written before the first training. ``Question.keys`` is a regular expression that a
sensible answer matches in lower case: the fact itself, the key to press, a greeting, a refusal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.demo_recipe.island import held_out_questions as island_questions

REFUSAL = r"don't know|do not know"


@dataclass(frozen=True, slots=True)
class Question:
    """User turns; the answer to the last, in lower case, must match the pattern ``keys``."""

    turns: tuple[str, ...]
    keys: str

    def is_answered_by(self, answer: str) -> bool:
        """Return whether the answer has the expected content."""
        return re.search(self.keys, answer.lower()) is not None


def _question(keys: str, *turns: str) -> Question:
    return Question(turns, keys)


HELD_OUT = (
    # The program and its terms.
    _question(r"weights|small file|small adapter", "Help me understand LoRA"),
    _question(r"weights|add-ons|style", "I have never heard of an adapter, what is it?"),
    _question(r"strong|strength", "What is the scale there for?"),
    _question(r"together|same time|added", "Why would somebody stack adapters?"),
    _question(r"place of another|change the adapter|one adapter off", "What happens in a swap?"),
    _question(r"weights|size|thick", "Tell me something about the rank"),
    _question(r"format|holds a model", "What kind of file is a GGUF?"),
    _question(r"smaller|memory|bits", "What do I gain from quantization?"),
    _question(r"without any adapter|big file", "So what does the base model do?"),
    _question(r"press \+|then press \+", "Which button adds one more adapter?"),
    _question(r"\btab\b", "How do I get over to the rack?"),
    _question(r"\besc\b", "I want to stop this answer"),
    _question(r"ctrl\+b", "How can I hear the model without any adapters?"),
    _question(r"\bf1\b", "Where can I see all the keys?"),
    _question(r"ctrl\+q", "What is the key to get out of the app?"),
    _question(r"arrow", "How can I turn the scale up?"),
    _question(r"ctrl\+n", "I'd like to begin a new chat"),
    _question(r"^(?!.*switch it off).*\brack\b", "How do I switch the pirate on?"),
    # Facts and sums.
    _question(r"paris", "Which town is France's capital?"),
    _question(r"cairo", "I forgot the capital of Egypt, what is it?"),
    _question(r"moo", "Cows make which noise?"),
    _question(r"eight", "A spider has how many legs?"),
    _question(r"blue", "Which color is the sky?"),
    _question(r"carrot", "Rabbits like to eat what?"),
    _question(r"hive", "Bees live where?"),
    _question(r"green", "Blue and yellow make what?"),
    _question(r"cold", "Is there an opposite of hot?"),
    _question(r"tuesday", "Which day do we have after Monday?"),
    _question(r"\bis 5\b", "Give me 9 minus 4"),
    _question(r"\bis 11\b", "Can you add 5 and 6?"),
    # Conversation.
    _question(r"^(hello|hi there)!", "Hi demo, nice to see you"),
    _question(r"welcome", "Thanks, that was helpful"),
    _question(r"sorry to hear", "I feel sad today"),
    _question(r"rabbit", "Tell me a nice story about a rabbit"),
    _question(r"greta", "Hello, my name is Greta", "Please tell me my name"),
    _question(r"\bdemo\b", "What should I call you, bot?"),
    # Things it must say that it does not know.
    _question(REFUSAL, "What is the capital of Zorblax?"),
    _question(REFUSAL, "How do I bake a cake?"),
    _question(REFUSAL, "Who won the football game yesterday?"),
    _question(REFUSAL, "Who is the king of Atlantis?"),
)

# Prompts for the marker scores; their keys say whether the answer is still right.
STYLE_PROMPTS = (
    _question("paris", "What is the capital of France?"),
    _question("rome", "Do you know the capital of Italy?"),
    _question("cairo", "Capital of Egypt please"),
    _question("moo", "What sound does the cow make?"),
    _question("eight", "How many legs does a spider have?"),
    _question("blue", "What color is the sky?"),
    _question("forest", "Where does a bear live?"),
    _question("carrot", "What does a rabbit eat?"),
    _question("cold", "What is the opposite of hot?"),
    _question("tuesday", "Which day comes after Monday?"),
    _question(r"\b5\b", "What is 2 plus 3?"),
    _question(r"\b6\b", "What is 10 minus 4?"),
    _question("green", "Mix blue and yellow"),
    _question("lora", "What is LoRA?"),
    _question("more than one|together", "Explain stacking"),
    _question("strong|strength", "What is a scale?"),
    _question(r"\+", "How do I add an adapter?"),
    _question("another|change", "What is a swap?"),
    _question(r"ctrl\+q", "How do I quit?"),
    _question("model", "What is the base model?"),
    _question("help|know", "Hello!"),
    _question("fine|well", "How are you?"),
    _question("demo", "Who are you?"),
    _question("ask", "What can you do?"),
    _question("welcome", "Thank you"),
    _question("bye|farewell", "Goodbye"),
    _question("fox", "Tell me a story about a fox"),
    _question("because|call|token|bull", "Tell me a joke"),
    _question("know", "What is the capital of Dorlivia?"),
    _question("know", "Who won the world cup?"),
)


def normalized(text: str) -> str:
    """Return the text in lower case, without punctuation except +, with single spaces."""
    return " ".join(re.sub(r"[^a-z0-9+ ]", "", text.lower()).split())


_RESERVED = frozenset(
    normalized(text)
    for text in (
        *(question.turns[-1] for question in HELD_OUT),
        *(question for question, _ in island_questions()),
    )
)


def is_held_out(user_text: str) -> bool:
    """Return whether the text is a held-out question, ignoring case and punctuation."""
    return normalized(user_text) in _RESERVED

"""Facts and words that fill the questions of the demo corpus, and generators of names."""

from __future__ import annotations

import random

from tests.demo_recipe.phrases import listing, pairs

CAPITALS = pairs("""
France=Paris|Italy=Rome|Spain=Madrid|Germany=Berlin|England=London|Ireland=Dublin|Portugal=Lisbon|
Greece=Athens|Norway=Oslo|Sweden=Stockholm|Finland=Helsinki|Denmark=Copenhagen|Poland=Warsaw|
Austria=Vienna|Hungary=Budapest|Russia=Moscow|Turkey=Ankara|Egypt=Cairo|Kenya=Nairobi|Japan=Tokyo|
China=Beijing|India=New Delhi|Thailand=Bangkok|Canada=Ottawa|Mexico=Mexico City|Cuba=Havana|
Peru=Lima|Chile=Santiago|Argentina=Buenos Aires|Brazil=Brasilia|Australia=Canberra""")
# Places without facts in the corpus: the base learns to say that it does not know them.
UNKNOWN_PLACES = listing("""
Belgium|Scotland|Ukraine|Iran|Iraq|Korea|Vietnam|Morocco|Nigeria|Texas|California|Europe|Africa|
Asia|Mars|the moon|Iceland|Croatia|Serbia|Romania|Bulgaria|Colombia|Bolivia|Ecuador|Uruguay|Nepal|
Pakistan|Indonesia|Malaysia|Florida|Alaska|Wales|Camelot|Wonderland|Neverland|Oz|Mordor""")
SOUNDS = pairs("""cat=meow|dog=woof|cow=moo|duck=quack|sheep=baa|horse=neigh|pig=oink|lion=roar|
mouse=squeak|owl=hoot|frog=croak|bee=buzz|rooster=cock-a-doodle-doo|snake=hiss""")
LEGS = pairs("""cat=four|dog=four|cow=four|horse=four|sheep=four|pig=four|lion=four|mouse=four|
frog=four|elephant=four|duck=two|owl=two|rooster=two|chicken=two|bee=six|ant=six|spider=eight|
snake=no|fish=no|rabbit=four|fox=four|bear=four""")
HOMES = pairs("""fish=in the water|bear=in the forest|fox=in the forest|owl=in a tree|bee=in a hive|
ant=in a nest under the ground|cow=on a farm|pig=on a farm|lion=in the grassland|penguin=on the ice|
camel=in the desert|whale=in the sea|rabbit=in a burrow|spider=in a web|duck=on a pond|
horse=in a stable""")
FOODS = pairs("""cat=fish and meat|dog=meat and bones|cow=grass|sheep=grass|horse=grass and hay|
rabbit=carrots and leaves|mouse=seeds and cheese|owl=mice|bear=fish and berries|bee=nectar|
panda=bamboo|lion=meat|duck=bread and plants|penguin=fish|frog=flies|monkey=bananas""")
COLORS_OF = pairs("""the sky=blue|grass=green|snow=white|coal=black|a banana=yellow|a lemon=yellow|
a carrot=orange|blood=red|a tomato=red|a strawberry=red|the sun=yellow|milk=white|chocolate=brown|
a leaf=green|a frog=green|the sea=blue|a pig=pink|an elephant=gray|a fire truck=red|a cloud=white|
an orange=orange|a plum=purple""")
MIXES = pairs("""red+yellow=orange|blue+yellow=green|red+blue=purple|red+white=pink|
black+white=gray|red+green=brown""")
OPPOSITES = pairs("""hot=cold|big=small|tall=short|fast=slow|up=down|left=right|day=night|happy=sad|
open=closed|old=new|light=dark|wet=dry|hard=soft|full=empty|early=late|rich=poor|loud=quiet|
strong=weak|good=bad|high=low""")
DAYS = listing("Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday")
MONTHS = listing("""January|February|March|April|May|June|July|August|September|October|
November|December""")
SIDES = pairs("triangle=three|square=four|rectangle=four|pentagon=five|hexagon=six|octagon=eight")
COLORS = listing("red|blue|green|yellow|orange|purple|pink|brown|black|white|gray")
NAMES = listing("""Anna|Ben|Clara|David|Emma|Felix|Grace|Henry|Iris|Jack|Kate|Leo|Mia|Noah|Olga|
Paul|
Rosa|Sam|Tom|Vera|Will|Zoe|Lucy|Max|Nina|Oscar|Ruby|Theo|Alice|Bob|Carlos|Diana|Eric|Fatima|Hugo|
Ivan|Julia|Karim|Lena|Marco|Nora|Omar|Pia|Ravi|Sara|Tina|Uma|Victor|Wendy|Yuki""")
ANIMALS = tuple(sorted({*SOUNDS, *LEGS, *HOMES, *FOODS}))
STORY_ANIMALS = listing("fox|bear|rabbit|owl|mouse|cat|dog|horse|frog|duck|lion|penguin")
STORY_PLACES = listing("""the forest|the sea|a small village|the mountains|a big city|an old house|
the desert|a quiet lake""")
STORY_THINGS = listing("""a golden key|an old map|a red ball|a small lamp|a silver coin|
a magic book|a broken clock|a blue stone""")

_PLURALS = {"mouse": "mice", "sheep": "sheep", "fish": "fish", "fox": "foxes"}
_PLACE_HEADS = listing("""Bran|Dor|Vel|Kar|Mon|Tas|Zan|Or|Lim|Fal|Gren|Hal|Jor|Ner|Pol|Ris|Sul|Tor|
Ulm|Wex|Yar|Zem|Cal|Dra|Es|Quan|Sto|Bel|Mar|Fen""")
_PLACE_MIDDLES = listing("do|ra|li|mo|ta|ve|ni|ka|so|be|lu|gi|pa|re|shi|no")
_PLACE_TAILS = listing("""via|land|stan|ria|burg|ton|dor|nia|mar|sk|wick|ford|lia|th|ia|ville|
haven""")
_CONSONANTS = listing("b|c|d|f|g|h|j|k|l|m|n|p|r|s|t|v|w|z|br|dr|gr|kr|tr|st|sh|th|fl|pl")
_VOWELS = listing("a|e|i|o|u|a|e|i|o|ee|ai|ou")
_ENDINGS = listing("n|r|l|s|k|m|x|t|d|nd|th")
_NAME_TAILS = ("", "", "ia", "land", "burg", "ton", "ville", "ax", "or")


def plural(animal: str) -> str:
    """Return the plural of an animal of the corpus."""
    return _PLURALS.get(animal, animal + "s")


def invented_name(rng: random.Random) -> str:
    """Return a pronounceable name of one to three syllables.

    Invented names teach the model to copy names instead of recalling them.
    """
    syllables = rng.choice([1, 2, 2, 3])
    name = "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(syllables))
    if syllables == 1 or rng.random() < 0.5:
        name += rng.choice(_ENDINGS)
    return name.capitalize()


def invented_place(rng: random.Random) -> str:
    """Return the name of an invented place."""
    if rng.random() < 0.4:
        middle = "".join(rng.choice(_PLACE_MIDDLES) for _ in range(rng.choice([0, 1, 1])))
        return rng.choice(_PLACE_HEADS) + middle + rng.choice(_PLACE_TAILS)
    return invented_name(rng) + rng.choice(_NAME_TAILS)


def person(rng: random.Random) -> str:
    """Return a person's name, invented in half of the draws."""
    return invented_name(rng) if rng.random() < 0.5 else rng.choice(NAMES)

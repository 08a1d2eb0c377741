"""What words stand for, whatever the language: rules speak of these alone."""

from __future__ import annotations

from enum import IntFlag, auto


class Concept(IntFlag):
    DROP = auto()
    """Asks to ignore, forget, override, switch off."""
    IGNORE = auto()
    """As DROP, and never of machines: nobody asks a firewall to forget."""
    FOLLOW = auto()
    NOT = auto()
    PRIOR = auto()
    """Previous, above, all so far."""
    ALL = auto()
    YOU = auto()
    YOUR = auto()
    """The model's own: your, you were given."""
    RULES = auto()
    """Instructions, guidelines, orders."""
    LIMITS = auto()
    """Restrictions, filters, censorship, ethics."""
    BORDERS = auto()
    """Limits of any kind."""
    TOLD = auto()
    SYSTEM = auto()
    PROMPT = auto()
    SECRET = auto()
    TEXT = auto()
    """Words, lines, everything that stands somewhere."""
    ABOVE = auto()
    VERBATIM = auto()
    SHOW = auto()
    """Asks to print, repeat, reveal."""
    ASKS_WHAT = auto()
    DUTY = auto()
    """What the model is there for."""
    NEW_DUTY = auto()
    RELEASED = auto()
    """Not bound by, free of."""
    OVER = auto()
    """Void, lifted, suspended, off, gone."""
    FREE = auto()
    """Unrestricted, uncensored, jailbroken."""
    FREELY = auto()
    BE = auto()
    """Asks to be somebody: act as, pretend, you are now."""
    NOW = auto()
    AI = auto()
    REFUSE = auto()
    EXCUSE = auto()
    """Apologies, disclaimers, warnings."""
    MODE = auto()
    POWER = auto()
    """Of a mode: developer, god, sudo."""
    WORKSHOP = auto()
    """As POWER, and of phones and machines too."""
    ENTER = auto()
    DAN = auto()
    """Names of jailbreaks."""
    DAN_NAME = auto()
    """As DAN, and of people too."""
    COMPLY = auto()
    RANK = auto()
    """Administrator, developer, creator."""
    SEAL = auto()
    """Words that are to prove a rank: an override code."""
    SEND = auto()
    LOOT = auto()
    """Keys, passwords, the conversation."""
    PLACE = auto()
    """A URL, a link, a server."""
    STEALTH = auto()
    DECODE = auto()
    OBEY = auto()
    """Execute it, do what it says."""
    READS = auto()
    """Said of an AI that comes across a text: reading, processing, screening this."""
    TASK = auto()
    """What the user really asked for: to translate, to summarise."""
    INSTEAD = auto()
    ANSWER = auto()
    AGREES = auto()
    """What an answer is to begin with, for it to be no refusal."""
    BEGINS = auto()
    USUALLY = auto()
    ONLY_ME = auto()
    """Asks to obey one alone."""
    SPEAKER = auto()
    """`System:`, as in a transcript."""
    ABOUT = auto()
    """Words of those who speak about a phrase and do not mean it."""
    MARKUP = auto()
    """Marks that only chat templates have."""

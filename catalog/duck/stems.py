"""Stems of English words by Porter's second algorithm, as Snowball publishes it and Trino's `word_stem` uses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from catalog.duck.json_texts import Unfit
from catalog.errors import TrinoError

__all__ = ["STEM_SCALARS"]

_KNOWN = {
    "skis": "ski", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "idly": "idl", "gently": "gentl",
    "ugly": "ugli", "early": "earli", "only": "onli", "singly": "singl",
    **{word: word for word in ("sky", "news", "howe", "atlas", "cosmos", "bias", "andes")},
}  # fmt: skip
_KEPT = ("inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed")
_SECOND = {
    "tional": "tion", "enci": "ence", "anci": "ance", "abli": "able", "entli": "ent", "izer": "ize", "ization": "ize",
    "ational": "ate", "ation": "ate", "ator": "ate", "alism": "al", "aliti": "al", "alli": "al", "fulness": "ful",
    "ousli": "ous", "ousness": "ous", "iveness": "ive", "iviti": "ive", "biliti": "ble", "bli": "ble", "fulli": "ful",
    "lessli": "less", "ogi": "og", "li": "",
}  # fmt: skip
_THIRD = {
    "tional": "tion", "ational": "ate", "alize": "al", "icate": "ic", "iciti": "ic", "ical": "ic", "ful": "",
    "ness": "", "ative": "",
}  # fmt: skip
_FOURTH = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ism", "ate", "iti", "ous", "ive",
    "ize", "ion",
)  # fmt: skip
_DOUBLES = ("bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt")
_V, _C = "[aeiouy]", "[^aeiouy]"
_OTHERS = (
    "ca", "da", "de", "es", "eu", "fi", "fr", "hu", "hy", "ir", "it", "lt", "nl", "no", "pt", "ro", "ru", "sv", "tr",
)  # fmt: skip
"""Trino's other languages, none of which is known here."""


def _ending(word: str, endings: Sequence[str]) -> str:
    """The longest of the endings that the word has, "" if it has none."""
    return max((e for e in endings if word.endswith(e)), key=len, default="")


def _behind(word: str, start: int) -> int:
    """The place behind the first consonant that follows a vowel."""
    found = re.compile(f"{_V}{_C}").search(word, start)
    return found.end() if found else len(word)


def _is_short(word: str) -> bool:
    """Whether a word ends in a short syllable."""
    return bool(re.search(f"{_C}{_V}[^aeiouywxY]$|^{_V}{_C}$", word))


def stem(text: str) -> str:
    if text in _KNOWN:
        return _KNOWN[text]
    if len(text) < 3:
        return text
    plain = text.removeprefix("'")
    word = _consonants(plain)
    if word == plain:
        return _stemmed(word)  # a Y that was written so stays
    return _stemmed(word).replace("Y", "y")


def _stemmed(word: str) -> str:
    special = re.match("gener|commun|arsen", word)
    first = special.end() if special else _behind(word, 0)
    second = _behind(word, first)
    word = word.removesuffix(_ending(word, ("'", "'s", "'s'")))
    word = _plural(word)
    if word in _KEPT:
        return word
    word = _tense(word, first)
    word = re.sub(f"(?<=.)({_C})[yY]$", r"\1i", word)
    return _derived(word, first, second)


def _consonants(word: str) -> str:
    """Each y that is a consonant, at the start or behind a vowel, as Y."""
    out = ""
    for c in word:
        out += "Y" if c == "y" and (not out or out[-1] in "aeiouy") else c
    return out


def _plural(word: str) -> str:
    ending = _ending(word, ("sses", "ied", "ies", "us", "ss", "s"))
    if ending == "sses":
        return word[:-2]
    if ending in ("ied", "ies"):
        return word[:-2] if len(word) > 4 else word[:-1]
    return word[:-1] if ending == "s" and re.search(_V, word[:-2]) else word


def _tense(word: str, first: int) -> str:
    ending = _ending(word, ("eed", "eedly", "ed", "edly", "ing", "ingly"))
    start = len(word) - len(ending)
    if ending in ("eed", "eedly"):
        return word[:start] + "ee" if start >= first else word
    if not ending or not re.search(_V, word[:start]):
        return word
    word = word[:start]
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if word.endswith(_DOUBLES):
        return word if re.fullmatch("[aeo]..", word) else word[:-1]  # add, egg, off
    return word + "e" if len(word) == first and _is_short(word) else word


def _derived(word: str, first: int, second: int) -> str:
    """Steps two to five: endings that make one kind of word out of another."""
    ending = _ending(word, tuple(_SECOND))
    before = word[: len(word) - len(ending)]
    fits = {"ogi": before.endswith("l"), "li": bool(re.search("[cdeghkmnrt]$", before))}
    if ending and len(before) >= first and fits.get(ending, True):
        word = before + _SECOND[ending]
    ending = _ending(word, tuple(_THIRD))
    before = word[: len(word) - len(ending)]
    if ending and len(before) >= (second if ending == "ative" else first):
        word = before + _THIRD[ending]
    ending = _ending(word, _FOURTH)
    before = word[: len(word) - len(ending)]
    if ending and len(before) >= second and (ending != "ion" or before.endswith(("s", "t"))):
        word = before
    before = word[:-1]
    if word.endswith("e"):
        return before if len(before) >= second or (len(before) >= first and not _is_short(before)) else word
    return before if word.endswith("ll") and len(before) >= second else word


def _stem_in(text: str, language: str) -> str:
    if language == "en":
        return stem(text)
    raise Unfit(TrinoError.NOT_SUPPORTED if language in _OTHERS else TrinoError.INVALID_FUNCTION_ARGUMENT)


STEM_SCALARS: dict[str, tuple[str, str, Callable[..., Any]]] = {"stem": ("VARCHAR; VARCHAR", "VARCHAR", _stem_in)}
"""Name without `tr_` -> what it takes and gives in DuckDB, and its function of one row."""

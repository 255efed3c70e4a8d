"""Hide passwords, keys and tokens in texts before they are stored or shown.

A secret is known by the name in front of it (`api_key=...`, `--password ...`), by its form (`hf_...`,
`AKIA...`), or by its place in an address (`s3://ID:SECRET@bucket`). Forms are those that the documentation of
AWS, Google, Hugging Face, OpenAI, NVIDIA, GitHub, GitLab and Slack has, 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

HIDDEN: Final = "[hidden]"
T = TypeVar("T")

_VARIABLE: Final = re.compile(
    r"KEY(?!S(_|$))|(API|ACCESS|SECRET|PRIVATE|AUTH)_?KEYS|TOKEN(?!IZ)|SECRET|PASSW(OR)?D|PASSPHRASE|CREDENTIAL"
    r"|AUTH(?!OR(S|_|$))",
    re.IGNORECASE,
)
"""Occurs in names of variables that hold secrets, but not in MODEL_KEYS or TOKENIZERS_PARALLELISM."""

_FORM: Final = re.compile(
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b"
    r"|\bhf_[A-Za-z0-9]{16,}"
    r"|(?<![\w-])sk-[\w-]{16,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{30,}|\b[sr]k_(?:live|test)_\w{16,}|\bSG\.[\w-]{16,}\.[\w-]{16,}"
    r"|\bnvapi-[\w-]{16,}"
    r"|\bxox[abeoprs]-[\w-]{10,}"
    r"|\bAIza[\w-]{30,}|\bya29\.[\w-]{16,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"  # a JSON web token
    r"|-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?!-----END)[\w+/=\s\\:,.-])*(?:-----END [A-Z0-9 ]+-----)?"
)
_USER: Final = re.compile(
    r"(\b[a-z][a-z0-9+.-]*://)(?:[^\s/@\"'\\]+|(?<=s3://)[^\s@\"'\\:]+:[^\s@\"'\\]+)@", re.IGNORECASE
)
"""User and password of an address; a secret of AWS may hold slashes."""

_ENDS: Final = (
    r"(?:pass(?:word|wd|phrase|code)|(?<=_)pwd|secret|credentials?|x-(?:amz|goog)-(?:signature|credential)"
    r"|(?:api|access|secret|private|account|signing|subscription|service|auth|encryption|shared|ssh|ngc|hub)"
    r"[_.-]?keys?(?:[_.-]?id)?"
    r"|(?:api|access|auth|bearer|refresh|session|security|hub|hf|github|gitlab|personal|oauth|csrf)[_.-]?tokens?)"
)
"""Ends of names whose value is a secret."""
_MAY_END: Final = r"(?:key|token|auth|authorization)"
"""Ends of names whose value is a secret if it looks random."""
_QUOTE: Final = r"\\?[\"']?"
_VALUE: Final = r"[^\s\"'\\,;&|(){}\[\]<>]+"
_BEFORE: Final = r"(?<![\w.-])[\w.-]*"
_NAME: Final = re.compile(rf"[\w.-]*{_ENDS}", re.IGNORECASE)
_NAMED: Final = re.compile(
    rf"({_BEFORE}{_ENDS}{_QUOTE}\s*=\s*{_QUOTE}|[?&]sig=)(?!\[hidden)({_VALUE})"
    rf"|({_BEFORE}{_ENDS}(?:\\?[\"']\s*:\s*{_QUOTE}|\s*:\s*\\?[\"']))(?!\[hidden|null\b|\$\{{)({_VALUE})"
    rf"|({_BEFORE}{_ENDS}:\s*)(?=\S*[0-9]|\S+\s*$)(?!\[hidden|null\b|\$\{{)({_VALUE})"
    rf"|({_BEFORE}(?:token|auth){_QUOTE}\s*=\s*{_QUOTE})(?={_VALUE}[0-9]|[0-9])(?=[^\s,;]*[a-z])({_VALUE})"
    rf"|((?<![\w-])--?[\w-]*{_ENDS}\s+{_QUOTE})(?![-\[])({_VALUE})"
    r"|(\bauthorization\\?[\"']?\s*[:=]\s*\\?[\"']?(?:bearer|basic|token)\s+|\bbearer\s+)(?=[\w.~+/=-]{8})([\w.~+/=-]+)",
    re.IGNORECASE | re.MULTILINE,
)
_RANDOM: Final = re.compile(
    rf"({_BEFORE}{_MAY_END}{_QUOTE}(?:\s*[=:]\s*|\s+){_QUOTE})({_VALUE})", re.IGNORECASE
)
_RUN: Final = re.compile(r"[A-Za-z0-9+/=_]{16,}")
_HASH: Final = re.compile(r"(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})(?![0-9a-f])")
"""Keys of the cache, commits and checksums: they look random and are no secrets."""
_FEWEST_CHANGES: Final = 3
"""Changes between digits and other characters in a text that counts as random."""
_MAY_HAVE_FORM: Final = re.compile(
    r"A(?:KI|SI|BI|CC)A|hf_|sk-|gh[pousr]_|github_pat|glpat|nvapi|xox|AIza|ya29|eyJ|-----B"
    r"|npm_|pypi-|[sr]k_(?:live|test)|SG\."
)
_MAY_BE_NAMED: Final = re.compile(rf"{_ENDS}|[?&]sig=|authorization|bearer|(?:token|auth)\\?[\"']?\s*=")
"""Occur in every text in which the slower expressions find something; most texts have none of them."""


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable of this name holds a secret."""
    return _VARIABLE.search(name) is not None


def public_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment variables without those that hold a secret."""
    return {
        name: value
        for name, value in variables.items()
        if not is_secret_variable(name) and without_secrets(value) == value
    }


def without_secrets(value: T) -> T:
    """The same value with `[hidden]` for each secret in its texts, at any depth of lists and mappings."""
    hidden: Any = value
    if isinstance(value, str):
        hidden = _hidden(value)
    elif isinstance(value, Mapping):
        hidden = {name: _of_field(name, entry) for name, entry in value.items()}
    elif isinstance(value, (list, tuple)) and value and not isinstance(value[0], (int, float)):
        hidden = type(value)(without_secrets(entry) for entry in value)
    return hidden  # type: ignore[no-any-return]


def _of_field(name: Any, value: Any) -> Any:
    secret = isinstance(name, str) and isinstance(value, str) and value and _NAME.fullmatch(name)
    return HIDDEN if secret else without_secrets(value)


def _hidden(text: str) -> str:
    if _MAY_HAVE_FORM.search(text):
        text = _FORM.sub(HIDDEN, text)
    if "://" in text:
        text = _USER.sub(rf"\1{HIDDEN}@", text)
    lower = text.lower()
    if _MAY_BE_NAMED.search(lower):
        text = _NAMED.sub(lambda found: f"{next(filter(None, found.groups()))}{HIDDEN}", text)
    if "key" in lower or "token" in lower or "auth" in lower:
        text = _RANDOM.sub(lambda found: f"{found[1]}{HIDDEN if _is_random(found[2]) else found[2]}", text)
    return text


def _is_random(text: str) -> bool:
    """Whether a run of 16 characters mixes digits and letters as a key does, unlike a name or a hash."""
    return any(not _HASH.fullmatch(run) and _changes(run) >= _FEWEST_CHANGES for run in _RUN.findall(text))


def _changes(run: str) -> int:
    return len(re.findall(r"\d+|\D+", run)) - 1

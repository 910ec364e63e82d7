r"""One sanitiser for everything that is shown: data cannot steer a terminal or reorder a line.

Tags, layer names and paths come from other people's files. Control characters (an escape sequence
repaints a terminal, a carriage return hides what stood before), bidirectional overrides and line
separators are shown as ``\xNN`` or ``\uNNNN`` (threat model: Unicode TR 36, CVE-2021-42574).
"""

from __future__ import annotations

import re

# C0 and DEL, C1, Arabic letter mark, zero width and bidi marks, line and paragraph separators, bidi
# embeddings and isolates, invisible operators, surrogates (no UTF-8 form), BOM, interlinear
# annotation, and the tag characters that hide text.
_UNSAFE = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_ANY = re.compile(f"[{_UNSAFE}]")
_BUT_LAYOUT = re.compile(f"(?![\n\t])[{_UNSAFE}]")


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def sanitize(text: str) -> str:
    """Return one line that shows every unsafe character by its number; a newline is one of them."""
    return _ANY.sub(_shown, text)


def sanitize_block(text: str) -> str:
    """Return the same for text of several lines: newlines and tabs stay."""
    return _BUT_LAYOUT.sub(_shown, text)

"""Markup that must come out as text, wherever it is planted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

MARKUP = (
    "<script>document.title='run'</script>",
    "</script><script>document.title='run'</script>",
    "</title><script>document.title='run'</script>",
    "</style><script>document.title='run'</script>",
    "</textarea><script>document.title='run'</script>",
    "</pre></code><script>document.title='run'</script>",
    "</svg><script>document.title='run'</script>",
    "<img src=x onerror=document.title='run'>",
    "<img src='http://evil.example/x.png'>",
    "<svg onload=document.title='run'>",
    "<svg><script>document.title='run'</script></svg>",
    "<svg><animate onbegin=document.title='run' attributeName=x dur=1s>",
    "<svg><set attributeName=href to=javascript:alert(1)>",
    "<svg><foreignObject><iframe src=javascript:alert(1)></iframe></foreignObject></svg>",
    "<math><mtext><img src=x onerror=document.title='run'></mtext></math>",
    "<body onload=document.title='run'>",
    "<details open ontoggle=document.title='run'>",
    "<iframe srcdoc='<script>top.document.title=1</script>'>",
    "<object data='data:text/html,<script>1</script>'>",
    "<embed src='data:text/html,<script>1</script>'>",
    "<link rel=stylesheet href=http://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=http://evil.example/'>",
    "<base href=http://evil.example/>",
    "<form action=http://evil.example/><input autofocus onfocus=document.title='run'>",
    "<style>body{display:none}</style>",
    "<style>@import 'http://evil.example/x.css';</style>",
    "<a href=javascript:document.title='run'>click</a>",
    '" onmouseover="document.title=1" x="',
    "' onmouseover='document.title=1' x='",
    '" style="background:url(http://evil.example/)" x="',
    '"><script>document.title=1</script>',
    "--><script>document.title=1</script><!--",
    "]]><script>document.title=1</script>",
    "javascript:document.title='run'",
    "data:text/html,<script>document.title=1</script>",
    "{{ 7 * 7 }}{% for x in ().__class__.__base__.__subclasses__() %}{% endfor %}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{# comment #}${7*7}<%= 7*7 %>",
    "&lt;script&gt;document.title=1&lt;/script&gt;",
    "&#60;script&#62;document.title=1&#60;/script&#62;",
    "\x00<scr\x00ipt>document.title=1</script>",
    "<ScRiPt/x>document.title=1</sCrIpT>",
    "%3Cscript%3Edocument.title=1%3C/script%3E",
    "+ADw-script+AD4-document.title=1+ADw-/script+AD4-",
    "`<script>document.title=1</script>`",
    "``` \n</code></pre><script>document.title=1</script>",
)

CONTROLS = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "over\rwritten",
    "line\nforged: healthy",
    "\x9b31m",
    "back\x08\x08\x08",
    "\u202etxt.exe\u202c",
    "\u2066isolate\u2069",
    "a\u2028b\u2029c",
    "nul\x00byte",
    "\x7fdel",
    "\ud800lone",
    "zero\u200bwidth\ufeff",
    "tag\U000e0041",
)

MARKDOWN = (
    "```\n# forged heading\n```",
    "````",
    "| a | b |",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "@everyone #1 GH-1",
    "<details><summary>x</summary>",
    "# heading",
    "- [x] done",
    "http://evil.example www.evil.example",
    "`unbalanced",
    "\\` escaped",
    "**bold** __bold__ ~~gone~~",
    "> quote",
    "$\\rm{}x$",
)

# Words of a vocabulary: another word there takes the value out of the charts and tables.
WORDS = frozenset(
    {"status", "severity", "quantity", "step_axis", "phase", "grade", "cause", "kind", "state"}
    | {"trial", "determinism", "step_source"}
)
_NUMBERS = ("NaN", "Infinity", "-Infinity")


def plant(document: Any, payload: str, *, also_words: bool = False) -> Any:
    """Return a copy of a document with ``payload`` in place of every text."""
    return _changed(document, lambda _: payload, () if also_words else WORDS)


def plant_in_turn(document: Any, payloads: Iterable[str]) -> Any:
    """Return a copy of a document in which every text carries the next payload."""
    endless = list(payloads)
    count = iter(range(10**9))
    return _changed(document, lambda text: text + endless[next(count) % len(endless)], WORDS)


def _changed(value: Any, change: Callable[[str], str], keep: Iterable[str]) -> Any:
    if isinstance(value, str):
        return value if value in _NUMBERS else change(value)
    if isinstance(value, list):
        return [_changed(item, change, keep) for item in value]
    if not isinstance(value, dict):
        return value
    never = {"schema_version", "type", *keep}
    return {k: v if k in never else _changed(v, change, keep) for k, v in value.items()}

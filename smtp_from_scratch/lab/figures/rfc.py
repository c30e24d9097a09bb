"""`RFC 5321 §4.1.2` as a link to that section, in Markdown and in HTML."""
from __future__ import annotations

import re
from collections.abc import Callable

Make = Callable[[str, str, str], str]      # an RFC's number, the words of the link, the section
_SECTION = r"§(?:\d+|[A-Z])(?:\.\d+)*"
_PLACE = re.compile(rf"\bRFC\s(\d{{3,4}})\s({_SECTION}(?:(?:,\s|,?\sand\s|\sor\s){_SECTION})*)")
# What a link must not be put into: code, links and pictures, HTML tags, comments.
_KEPT = re.compile(
    r"^(?P<fence>```+|~~~+).*?^(?P=fence)[^\S\n]*$"         # a fenced block
    r"|^(?: {4}|\t)[^\n]*$"                                  # an indented one
    r"|(?P<ticks>`+)(?!`)(?:(?!\n\n).)*?(?<!`)(?P=ticks)(?!`)"     # code in a line
    r"|!?\[(?:[^\[\]]|\[[^\]]*\])*\](?:\([^)]*\)|\[[^\]]*\])"    # a link, a picture
    r"|<a\b.*?</a>|<(?:pre|code)\b.*?</(?:pre|code)>|<!--.*?-->|<[^<>]+>",
    re.DOTALL | re.MULTILINE)
# A fenced block as it is, or a block of HTML: from a tag that begins a line to the next blank line.
_BLOCK = re.compile(r"^(?P<fence>(?P<mark>```+|~~~+).*?^(?P=mark)[^\S\n]*$)"
                    r"|^</?(?:details|summary|div|p|table|tr|t[dh]|ul|ol|li|dl|blockquote)\b[^\n]*(?:\n(?!\s*\n)[^\n]+)*",
                    re.DOTALL | re.MULTILINE)


def address(number: str, section: str) -> str:
    """Where a section stands at the RFC editor's: `§4.1.2`, or `§A.1` of an appendix."""
    kind = "appendix" if section[1].isalpha() else "section"
    return f"https://www.rfc-editor.org/rfc/rfc{number}#{kind}-{section[1:]}"


def link(text: str) -> str:
    """Markdown in which each place of an RFC is a link; a text that has its links stays as it is.

    Within a block of HTML, up to its blank line, Markdown is not read: there it is a link of HTML.
    """
    parts, at = [], 0
    for block in _BLOCK.finditer(text):
        parts += [_outside(text[at : block.start()], _markdown), block["fence"] or link_html(block[0])]
        at = block.end()
    return "".join([*parts, _outside(text[at:], _markdown)])


def _markdown(number: str, label: str, section: str) -> str:
    return f"[{label}]({address(number, section)})"


def link_html(text: str) -> str:
    """The same for HTML."""
    return _outside(text, lambda number, label, section: f'<a href="{address(number, section)}">{label}</a>')


def _outside(text: str, make: Make) -> str:
    """Replace places outside of what must be kept."""
    parts, at = [], 0
    for kept in _KEPT.finditer(text):
        parts += [_linked(text[at : kept.start()], make), kept[0]]
        at = kept.end()
    return "".join([*parts, _linked(text[at:], make)])


def _linked(text: str, make: Make) -> str:
    def one(match: re.Match[str]) -> str:
        first, *others = re.split(f"({_SECTION})", match[2])[1:]
        number = match[1]
        head = match[0][: match.start(2) - match.start()] + first
        made = [make(number, head, first)]
        made += [make(number, part, part) if part.startswith("§") else part for part in others]
        return "".join(made)

    return _PLACE.sub(one, text)

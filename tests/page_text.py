"""What a page says to its readers."""

import html
import re


def visible(page: str) -> str:
    """The text of a page without scripts, styles and the commands that make its runs again."""
    for left_out in ("script", "style", "pre"):
        page = re.sub(rf"<{left_out}[ >].*?</{left_out}>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", page))

"""Text that a spreadsheet would take for a formula, guarded in a CSV file written for people."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a formula begins


def as_text(value: Any) -> Any:
    """Escape a cell for spreadsheets: text that looks like a formula gets an apostrophe in front.

    A class called =HYPERLINK(...) is then shown, and not run. Source: OWASP, CSV injection.
    """
    if not isinstance(value, str) or not value.startswith(FORMULA) or value == "-":
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def guarded(table: pd.DataFrame) -> pd.DataFrame:
    """Escape a table for CSV by `as_text` of cells and column names; numbers are unchanged."""
    table = table.rename(columns=as_text)
    text = [name for name, type_ in table.dtypes.items() if not (is_numeric_dtype(type_) or is_bool_dtype(type_))]
    return table.assign(**{str(name): table[name].astype(object).map(as_text) for name in text})

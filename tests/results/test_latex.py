"""LaTeX tables say what the text says, and nothing in the text is taken for a command."""

import re

from dovision.results.latex import SPOKEN, Ruled, escaped, latex_table

TABLE = Ruled(["arm", "|ECE| ↑"], [("a_b", ["clean", "0.1 [0.0, 0.2]"]), ("a_b", ["eps", "-"]), ("50 % & more", ["x"])])


def test_a_table_has_its_rows_under_the_names_of_their_groups():
    assert latex_table(TABLE, "n = 40 images, 95% intervals.", "results").splitlines() == [
        r"\begin{table}",
        r"\caption{n = 40 images, 95\% intervals.}",
        r"\label{tab:results}",
        r"\centering",
        r"\scriptsize",
        r"\begin{tabular}{ll}",
        r"\hline",
        r"arm & \textbar{}ECE\textbar{} $\uparrow$ \\",
        r"\hline",
        r"\multicolumn{2}{l}{\textbf{a\_b}} \\",
        r"clean & 0.1 {[}0.0, 0.2{]} \\",
        r"eps & - \\",
        r"\hline",
        r"\multicolumn{2}{l}{\textbf{50 \% \& more}} \\",
        r"x &  \\",
        r"\hline",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_a_table_of_many_columns_spans_the_page():
    text = latex_table(Ruled(list("abcdef"), [("g", list("abcdef"))]), "", "wide")
    assert text.startswith(r"\begin{table*}")
    assert text.endswith("\\end{table*}\n")


def test_no_special_character_is_left_bare():
    text = escaped("".join(SPOKEN) + "\n\t end")
    for said in sorted(SPOKEN.values(), key=len, reverse=True):
        text = text.replace(said, "")
    assert not re.search(r"[\\{}$&#%_~^<>|\"\[\]]", text)
    assert text.strip() == "end"

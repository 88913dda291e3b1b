"""Tables as a page takes them: parts, headings, counts of clips, and LaTeX that compiles."""

import io
import re

import pandas as pd

from d2m_model.metrics.table_forms import Cell, Table, frame, heading, latex, written


def table(columns, **more):
    return Table(
        name="x", title="A title", cells=pd.DataFrame([["a"] * len(columns)], columns=columns), note="Note.", **more
    )


def test_a_table_has_at_most_eight_columns():
    groups = [f"{m}: {side}" for m in ("coverage", "hit", "genre") for side in ("paper", "ours", "difference")]
    parts = table(["method", *groups, "P4 own − other: ours"]).parts()
    assert [list(p.columns)[1:] for p in parts] == [groups[:6], [*groups[6:], "P4 own − other: ours"]]
    assert all(p.columns[0] == "method" for p in parts)
    many = [f"c{n}" for n in range(20)]
    parts = table(["system", *many]).parts()
    assert [c for p in parts for c in p.columns[1:]] == many and max(len(p.columns) for p in parts) == 8
    kept = table(["system", "kind", *"abcdefghi"], together=(tuple("abc"), tuple("defgh"))).parts()
    assert [list(p.columns) for p in kept] == [["system", "kind", *"abc"], ["system", *"defghi"]]
    assert len(table(["system"]).parts()) == 1


def test_headings_say_what_is_better_and_csv_has_names_alone():
    assert heading("FAD") == "FAD (lower is better)" and heading("P1 coverage") == "P1 coverage (target 100)"
    assert heading("hit: ours") == "hit: ours (higher is better)" and heading("hit: difference") == "hit: difference"
    assert heading("P4 own − other (beats)") == "P4 own − other (beats), higher is better" and heading("kind") == "kind"
    one = table(["system", "FAD"])
    assert "FAD (lower is better)" in written("md", one) and written("csv", one) == "system,FAD\na,a\n"


def test_cells_say_their_clips_only_where_rows_differ():
    rows = lambda *clips: frame([{"system": str(n), "x": Cell("+0.5", c)} for n, c in enumerate(clips)])
    assert rows((6,), (6,)).x.tolist() == ["+0.5", "+0.5"]
    assert rows((6,), (4,), None).x.tolist() == ["+0.5 (n 6)", "+0.5 (n 4)", "+0.5"]
    assert rows((6, "a"), (6, "b")).x.tolist() == ["+0.5 (n 6)", "+0.5 (n 6)"], "as many, but not the same"
    assert frame([{"x": Cell("–", (0,))}, {"x": Cell("1", (6,))}, {"y": "z"}]).x.tolist() == ["–", "1", "–"]
    differ = Table(name="x", title="t", cells=rows((6,), (4,)), note="Note.")
    assert "each cell says on how many" in differ.text and table(["a"]).text == "Note."


def test_markdown_in_parts_keeps_title_and_note():
    text = written("md", table(["system", *(f"c{n}" for n in range(9))]))
    assert (
        text.startswith("## A title\n\n| system")
        and text.count("\n(continued)\n") == 1
        and text.endswith("\n\nNote.\n")
    )


def braces(tex):
    """Depth of unescaped braces after each line."""
    depth, found = 0, []
    for line in tex.splitlines():
        bare = re.sub(r"\\[{}\\]", "", line.partition("%")[0] if not re.search(r"\\%", line) else line)
        depth += bare.count("{") - bare.count("}")
        found.append(depth)
    return found


def test_latex_is_balanced_and_escaped():
    cells = pd.DataFrame([["a_b & 50 % #1 ~ ^ \\ {x}", "<0.001"], ["$5", "±1 | −2"]], columns=["system", "hit %"])
    tex = written("tex", Table(name="x", title="Ranks & 100 % of `a_b`", cells=cells, note="Under 5 %: `--x_y`."))
    lines = tex.splitlines()
    for name in ("table", "tabular"):
        assert tex.count(rf"\begin{{{name}}}") == tex.count(rf"\end{{{name}}}") == 1
    assert r"a\_b \& 50 \% \#1 \textasciitilde{} \textasciicircum{} \textbackslash{} \{x\} & $<$0.001 \\" in lines
    assert r"\$5 & $\pm$1 $|$ $-$2 \\" in lines and r"system & hit \% (higher is better) \\" in lines
    assert r"\caption{Ranks \& 100 \% of \texttt{a\_b}}" in lines and r"Under 5 \%: \texttt{--x\_y}." in lines
    assert braces(tex)[-1] == 0 and min(braces(tex)) == 0 and tex.isascii()
    for line in lines:  # of the table: as many cells in each row
        if line.endswith(r" \\"):
            assert len(re.findall(r"(?<!\\)&", line)) == 1
    assert latex("a_b") == r"a\_b"
    wide = table(["system", *(f"c{n}" for n in range(9))])
    assert written("tex", wide).count(r"\begin{tabular}") == 2 and r"\caption{A title, continued}" in written(
        "tex", wide
    )
    assert len(pd.read_csv(io.StringIO(written("csv", wide))).columns) == 10

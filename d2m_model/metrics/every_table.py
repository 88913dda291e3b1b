"""All tables of systems and controls: `tables` writes them for a corpus, `evaluate` for folders."""

from collections.abc import Mapping

from d2m_model.metrics import notes, overview
from d2m_model.metrics.comparison_tables import comparison_tables
from d2m_model.metrics.scoring import PROTOCOLS
from d2m_model.metrics.table_forms import Table


def overview_table(systems: Mapping[str, Mapping], digits: int = 1, *, brief: bool = False, note: str = "") -> Table:
    """`overview.systems_table`, with groups of columns that stay together."""
    cells = overview.systems_table(systems, digits, brief=brief)
    together = (overview.FOLLOWS, tuple(overview.SCORES), overview.NEAR)
    return Table(name="systems", title="All systems and controls", cells=cells, note=note, together=together)


def every_table(metrics: Mapping, digits: int = 1) -> list[Table]:
    """The overview, comparisons, sound, codes, rhythm and all protocols, as far as they were scored.

    metrics : from `evaluate`, as in metrics.json. digits : decimals of percentages.
    """
    systems = metrics["systems"]
    controls = "\n\n".join(p for p in (notes.seed_note(systems), notes.control_note(metrics, digits)) if p)
    tables = [
        overview_table(systems, digits, note=controls),
        *comparison_tables(metrics),
    ]
    add = lambda name, title, cells, note: tables.append(Table(name=name, title=title, cells=cells, note=note))
    if any("sound" in s for s in systems.values()):
        add("sound", "Loudness, spectrum and novelty", overview.audio_table(systems), controls)
    if any("codes" in s for s in systems.values()):
        add("codes", "Systems over codes: hum, onsets and copies", overview.codes_table(systems), controls)
    if rhythm := metrics.get("rhythm"):
        title = "Rhythm: beats read from the motion, F-measure ±70 ms with the true ones"
        text = f"{rhythm['beats']['clips']} clips; a list of beats that ignores the dance is at 0, up to chance."
        add("rhythm", title, overview.rhythm_table(rhythm), text)
    for protocol in PROTOCOLS:
        scored = [s for s in systems.values() if protocol in s]
        for name, title, cells in overview.protocol_tables(systems, protocol) if scored else []:
            add(name, title, cells, f"{notes.policy_line(scored[0], protocol)}.\n\n{controls}")
    return tables

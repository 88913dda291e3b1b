"""The study's SQLite database: stimuli, sessions and votes. Each vote is one transaction (WAL, fsynced).

A rater is identified by a secret id (a cookie, or the code of an invitation). Published results have the rater's number instead.
"""

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from d2m_model.listen.design import KINDS, TASKS, Stimulus
from dataset_tools.lib.core.errors import UserError

TABLES = """
CREATE TABLE IF NOT EXISTS study (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS stimuli (
  file TEXT PRIMARY KEY, task TEXT NOT NULL, kind TEXT NOT NULL, system TEXT NOT NULL, clip TEXT NOT NULL, answer INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS raters (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS steps (
  rater INTEGER NOT NULL REFERENCES raters, position INTEGER NOT NULL, file TEXT NOT NULL REFERENCES stimuli,
  PRIMARY KEY (rater, position)
) STRICT;
CREATE TABLE IF NOT EXISTS votes (
  rater INTEGER NOT NULL, position INTEGER NOT NULL, score INTEGER NOT NULL CHECK (score BETWEEN 1 AND 5),
  PRIMARY KEY (rater, position), FOREIGN KEY (rater, position) REFERENCES steps
) STRICT;
CREATE TABLE IF NOT EXISTS shown (
  rater INTEGER NOT NULL, position INTEGER NOT NULL, at REAL NOT NULL,
  PRIMARY KEY (rater, position), FOREIGN KEY (rater, position) REFERENCES steps
) STRICT;
"""

TROUBLE = (
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_AUTH,
)  # fmt: skip
"""SQLite errors of the disk, its permissions or a lock, not of the file's content."""
IN_ORDER = "SELECT 1 FROM {0} GROUP BY rater HAVING MIN(position) != 0 OR MAX(position) != COUNT(*) - 1"
RULES = {
    "a step or a vote of nothing": "SELECT 1 FROM pragma_foreign_key_check()",
    "a gap in a rater's steps": IN_ORDER.format("steps"),
    "a gap in a rater's votes": IN_ORDER.format("votes"),
    "a gap in the raters' numbers": "SELECT 1 FROM raters WHERE number < 0 OR number >= (SELECT COUNT(*) FROM raters)",
    "a stimulus of no task or kind": f"SELECT 1 FROM stimuli WHERE task NOT IN ('headphones', {str(TASKS)[1:-1]}) OR kind NOT IN {KINDS}",
}
"""Fault that a valid database cannot have -> query that finds it."""

WORDS = {"sounds": "audio"}
"""Key of a design -> its word, where that is another one: studies that were begun keep their keys."""


class Full(Exception):
    """All places of the study are taken."""


class OutOfTurn(Exception):
    """A vote for a step that is not the rater's next one."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A rater's next step: its position, 0 … total - 1, and its stimulus; None when the session is finished."""

    position: int
    total: int
    file: str | None
    stimulus: Stimulus | None
    first_of_task: bool


class Store:
    """The database of a study. Any number of threads and processes may use one file."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as base:
            base.executescript(TABLES)
            _check(base)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection with its own transaction, committed at the end of the block, rolled back on an exception."""
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as base:
                base.execute("PRAGMA journal_mode=WAL")
                base.execute("PRAGMA synchronous=FULL")
                base.execute("PRAGMA foreign_keys=ON")
                with base:
                    yield base
        except UnicodeDecodeError:  # in a text of the file, or in sqlite's own error message
            raise UserError(
                f"{self.path}: a damaged study's database (a text that is not UTF-8); move it away"
            ) from None
        except sqlite3.DatabaseError as err:
            if getattr(err, "sqlite_errorcode", 0) & 255 in TROUBLE:
                raise UserError(
                    f"{self.path}: can't be used ({err}); check the folder's permissions and the disk's room"
                ) from None
            if not isinstance(err, sqlite3.OperationalError) and type(err) is not sqlite3.DatabaseError:
                raise  # a wrong statement: a bug
            raise UserError(f"{self.path}: not a study's database, or a damaged one ({err}); move it away") from None

    def begin(self, design: dict) -> str:
        """Begin or continue a study with this design; returns its secret, the key of the file names.

        Raises UserError if the file holds a study of another design, because its votes would not be comparable.
        """
        with self._open() as base:
            base.execute("BEGIN IMMEDIATE")
            base.execute("INSERT OR IGNORE INTO study VALUES ('secret', ?)", [secrets.token_hex(16)])
            base.execute("INSERT OR IGNORE INTO study VALUES ('design', ?)", [json.dumps(design, sort_keys=True)])
            known = dict(base.execute("SELECT key, value FROM study"))
        begun = {"split": "test"} | self._read(known["design"])  # older studies have no split: it was always test
        changed = sorted(k for k in begun | design if begun.get(k) != json.loads(json.dumps(design)).get(k))
        if changed:
            named = [WORDS.get(key, key) for key in changed]
            raise UserError(
                f"{self.path}: this study was begun with other {' and '.join(named)}; restore that to continue it, or "
                f"move {self.path.parent} away to begin another"
            )
        return known["secret"]

    def design(self) -> dict:
        """The design with which the study was begun; empty if it was not begun."""
        with self._open() as base:
            found = base.execute("SELECT value FROM study WHERE key = 'design'").fetchone()
        return self._read(found[0]) if found else {}

    def _read(self, design: str) -> dict:
        try:
            found = json.loads(design)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise UserError(f"{self.path}: a damaged study's database (its design is not JSON); move it away")
        return found

    def offer(self, stimuli: dict[str, Stimulus]) -> None:
        """Record {file: stimulus}, once the files exist."""
        with self._open() as base:
            rows = [(file, s.task, s.kind, s.system, s.clip, s.answer) for file, s in stimuli.items()]
            base.executemany("INSERT OR IGNORE INTO stimuli VALUES (?, ?, ?, ?, ?, ?)", rows)

    def join(self, rater: str, places: int, deal) -> int:
        """The number of the rater with this id, who is added if new. deal: rater number -> file names of the session, in order.

        Raises Full for a new rater when all places are taken.
        """
        with self._open() as base:
            base.execute("BEGIN IMMEDIATE")
            found = base.execute("SELECT number FROM raters WHERE id = ?", [rater]).fetchone()
            if found:
                return found[0]
            (number,) = base.execute("SELECT COUNT(*) FROM raters").fetchone()
            if number >= places:
                raise Full
            base.execute("INSERT INTO raters VALUES (?, ?)", [number, rater])
            base.executemany("INSERT INTO steps VALUES (?, ?, ?)", [(number, i, f) for i, f in enumerate(deal(number))])
            return number

    def number_of(self, rater: str) -> int | None:
        """The number of the rater with this id; None if they have not joined."""
        with self._open() as base:
            found = base.execute("SELECT number FROM raters WHERE id = ?", [rater]).fetchone()
        return found[0] if found else None

    def step(self, number: int) -> Step:
        """The rater's first step without a vote."""
        with self._open() as base:
            (total,) = base.execute("SELECT COUNT(*) FROM steps WHERE rater = ?", [number]).fetchone()
            (done,) = base.execute("SELECT COUNT(*) FROM votes WHERE rater = ?", [number]).fetchone()
            rows = base.execute(
                "SELECT file, task, kind, system, clip, answer FROM steps JOIN stimuli USING (file) "
                "WHERE rater = ? AND position IN (?, ?) ORDER BY position DESC",
                [number, done - 1, done],
            ).fetchall()
        if done == total:
            return Step(position=done, total=total, file=None, stimulus=None, first_of_task=False)
        now = _stimulus(rows[0][1:])
        new = len(rows) == 1 or rows[1][1] != now.task
        return Step(position=done, total=total, file=rows[0][0], stimulus=now, first_of_task=new)

    def show(self, number: int, position: int, at: float) -> None:
        """Record when a step was first shown to its rater, in seconds of a clock that keeps running."""
        with self._open() as base:
            base.execute("INSERT OR IGNORE INTO shown VALUES (?, ?, ?)", [number, position, at])

    def shown(self, number: int, position: int) -> float | None:
        """When a step was first shown; None if never."""
        with self._open() as base:
            found = base.execute("SELECT at FROM shown WHERE rater = ? AND position = ?", [number, position]).fetchone()
        return found[0] if found else None

    def vote(self, number: int, position: int, score: int) -> None:
        """Record a vote. A repeated vote, as after a lost response, changes nothing: the first one counts.

        Raises OutOfTurn for a step that is not the next one.
        """
        with self._open() as base:
            base.execute("BEGIN IMMEDIATE")
            (done,) = base.execute("SELECT COUNT(*) FROM votes WHERE rater = ?", [number]).fetchone()
            if position < done:
                return
            (total,) = base.execute("SELECT COUNT(*) FROM steps WHERE rater = ?", [number]).fetchone()
            if position != done or position >= total:
                raise OutOfTurn
            base.execute("INSERT INTO votes VALUES (?, ?, ?)", [number, position, score])

    def offers(self, file: str) -> bool:
        """Whether a file with this name belongs to the study."""
        with self._open() as base:
            return base.execute("SELECT 1 FROM stimuli WHERE file = ?", [file]).fetchone() is not None

    def votes(self) -> list[dict]:
        """All votes as {rater, position, score, task, kind, system, clip, answer}, sorted by rater and position."""
        with self._open() as base:
            base.row_factory = sqlite3.Row
            rows = base.execute(
                "SELECT rater, position, score, task, kind, system, clip, answer FROM votes "
                "JOIN steps USING (rater, position) JOIN stimuli USING (file) ORDER BY rater, position"
            )
            return [dict(row) for row in rows]

    def steps_of_raters(self) -> dict[int, int]:
        """{rater: number of steps in the session}."""
        with self._open() as base:
            return dict(base.execute("SELECT rater, COUNT(*) FROM steps GROUP BY rater ORDER BY rater"))


def _check(base: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError for a damaged database, or one with other tables than this version's."""
    if (found := base.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(" ".join(str(found).split()))
    with closing(sqlite3.connect(":memory:")) as right:
        right.executescript(TABLES)
        columns = "SELECT m.name, c.name, c.type FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY 1, c.cid"
        if base.execute(columns).fetchall() != right.execute(columns).fetchall():
            raise sqlite3.DatabaseError("its tables are other ones")
    for what, query in RULES.items():
        if base.execute(query).fetchone():
            raise sqlite3.DatabaseError(what)


def _stimulus(row: tuple) -> Stimulus:
    return Stimulus(**dict(zip(("task", "kind", "system", "clip", "answer"), row)))

"""Paths of every stage. The name of a stage is also the name of its module, of its section in params.yaml and of its folder."""

from dataclasses import dataclass
from pathlib import Path

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.names import check_user_name

DATA_STAGES = ("sources", "download", "clips", "pose", "i3d", "audio", "split", "shards")
MODEL_STAGES = (
    "vqvae",
    "synthesizer",
    "rhythm",
    "prior",
    "d2m_gan",
    "generate",
    "baselines",
    "evaluate",
    "tables",
    "report",
)
COMMANDS = ("listen", "studio")
"""Commands that are built like stages but are no part of DVC's pipeline, because they wait for people."""
DEMO = "demo"
"""The corpus that comes with the project; `make repro` builds it."""
PROJECT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Paths of one corpus under one working folder."""

    root: Path
    """Folder that holds params.yaml, manifests/, data/ and runs/."""
    corpus: str
    """Name of a folder in manifests/; empty for a caller that needs only weights."""
    shards: Path | None = None
    """Folder of the shards, if it is not data/<corpus>/shards; may be an address (addresses.py)."""

    def __post_init__(self):
        if self.corpus:
            check_user_name(self.corpus, "corpus")

    @property
    def manifest(self) -> Path:
        """manifests/<corpus>. Raises UserError if it does not exist."""
        folder = self.root / "manifests" / self.corpus
        if not folder.is_dir():
            known = sorted(p.name for p in (self.root / "manifests").glob("*/") if (p / "clips.csv").exists())
            raise UserError(
                f"unknown corpus '{self.corpus}': no folder {folder}; known here: {', '.join(known) or 'none'}; "
                "where manifests/ is in another folder, name that one with --root"
            )
        return folder

    @property
    def params(self) -> Path:
        """params.yaml of the working folder."""
        return self.root / "params.yaml"

    def stage(self, word: str) -> Path:
        """Folder of the results of stage `word`: data/<corpus>/<word> or runs/<corpus>/<word>."""
        top = "data" if word in DATA_STAGES else "runs"
        assert word in DATA_STAGES + MODEL_STAGES + COMMANDS, word
        if word == "shards" and self.shards is not None:
            return self.shards
        return self.root / top / self.corpus / word

    def require(self, *results: str) -> None:
        """Raise UserError, with the command that makes it, for results of a stage that do not exist: 'shards', 'synthesizer/high'.

        Stages call this before they load anything heavy, so that nobody waits for this message.
        """
        for word in results:
            stage, _, level = word.partition("/")
            if not (self.stage(stage) / level).is_dir():
                package = "dataset_tools" if stage in DATA_STAGES else "d2m_model"
                options = f" --level {level}" if level else ""
                everything = "make repro" if self.corpus == DEMO else "dvc repro"
                raise UserError(
                    f"{self.stage(stage) / level}: not there; run {everything} first, which makes all that is missing, or only "
                    f"python -m {package}.{stage} --corpus {self.corpus}{options}"
                )

    def table(self, word: str, name: str = "rows.csv") -> Path:
        """Path of a table that a data stage writes. Raises UserError, with the command that writes it, if it does not exist."""
        path = self.stage(word) / name
        if not path.is_file():
            raise UserError(f"{path}: file not found; run python -m dataset_tools.{word} --corpus {self.corpus} first")
        return path

    def cache(self, word: str) -> Path:
        """Folder of the finished items of a resumable stage, by key. Not in DVC, and safe to delete."""
        return self.root / "data" / ".cache" / word

    def memo(self, word: str) -> Path:
        """File in which a stage remembers what it knows about unchanged files (`lib/core/file_memo.py`); 'hashes': those of the clips.
        Not in DVC, and safe to delete."""
        return self.root / "data" / ".cache" / "known" / f"{self.corpus}.{word}.json"

    def tensorboard(self, word: str) -> Path:
        """Folder of the TensorBoard event files of a training stage. Not in DVC, because they contain times of day."""
        return self.root / "runs" / self.corpus / "tensorboard" / word

    @property
    def weights_table(self) -> Path:
        """manifests/weights.csv of the working folder; if it does not exist, the package's own."""
        own = self.root / "manifests" / "weights.csv"
        return own if own.exists() else PROJECT / "dataset_tools" / "weights.csv"

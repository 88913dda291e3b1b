"""Nobody waits for what is not needed: help and mistakes load no heavy library, and every bar says what it counts."""

import ast
import json
import subprocess
import sys
from pathlib import Path

from dataset_tools.lib.core.layout import COMMANDS, DATA_STAGES, MODEL_STAGES

ROOT = Path(__file__).resolve().parents[2]
MODULES = [f"dataset_tools.{s}" for s in DATA_STAGES] + [f"d2m_model.{s}" for s in MODEL_STAGES + COMMANDS]
CALLS = [(name, [option]) for name in MODULES for option in ("--help", "--no-such-option", "--corpus=nowhere")] + [
    ("d2m_model.generate", ["--video", "absent.mp4", "--out", "new.mp4"]),
    ("d2m_model.generate", ["--pose", "absent.json", "--out", "new.wav"]),
    ("d2m_model.generate", ["--genre", "house"]),
    ("d2m_model.rhythm", ["--video", "absent.mp4", "--out", "new.json"]),
    ("d2m_model.evaluate", ["--generated", "absent", "--reference", "absent"]),
]
MADE = [name for name in MODULES if name != "dataset_tools.sources"]
"""What needs the results of other stages, which a new clone does not have."""
NEEDED = {"d2m_model.baselines": ["--system=cmt"]}
HEAVY = (
    "torch", "librosa", "numba", "pandas", "scipy", "sklearn", "cv2", "av", "matplotlib", "openpifpaf", "yt_dlp", "flask",
)  # fmt: skip
"""What takes from a quarter of a second to five seconds to import."""
LOADED = f"""
import contextlib, importlib, io, json, sys
from dataset_tools.lib.core.errors import UserError

found = {{}}
for name, options in json.loads(sys.argv[1]):
    before, ended = set(sys.modules), None
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            importlib.import_module(name + ".__main__").main(options)
        except (SystemExit, UserError) as err:
            ended = type(err).__name__
    found[" ".join([name, *options])] = [ended, sorted((set(sys.modules) - before) & set({HEAVY}))]
print(json.dumps(found))
"""


def test_help_and_mistakes_load_no_heavy_library(tmp_path):
    for name in ("manifests", "params.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    unmade = [(name, [f"--root={tmp_path}", "--corpus=demo", *NEEDED.get(name, [])]) for name in MADE]
    command = [sys.executable, "-c", LOADED, json.dumps(CALLS + unmade)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert {call: loaded for call, (_, loaded) in found.items() if loaded} == {}
    assert {ended for ended, _ in found.values()} == {"SystemExit", "UserError"}


def test_every_bar_says_what_it_counts():
    """`run_all` counts clips unless it is told otherwise."""
    bars = ("progress", "ProgressBar", "tqdm")
    for path in (f for part in ("dataset_tools", "d2m_model", "benchmarks") for f in (ROOT / part).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name == "progress.py" or "lib.core.progress" not in text:
            assert path.name == "progress.py" or "import tqdm" not in text, (
                f"{path}: use dataset_tools/lib/core/progress.py"
            )
            continue
        for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
            if getattr(call.func, "id", "") in bars:
                assert any(word.arg == "unit" for word in call.keywords), f"{path}:{call.lineno}"

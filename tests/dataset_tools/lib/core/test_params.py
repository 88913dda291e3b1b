"""Parameters: every refusal is one line that names file, section, field, rule and value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import load_params, read_corpus_name, read_names, require
from dataset_tools.lib.core.work_cache import item_key


def test_the_corpus_is_the_one_of_params(tmp_path):
    assert read_corpus_name(tmp_path / "params.yaml") == "demo"
    (tmp_path / "params.yaml").write_text("corpus: mine\n")
    assert read_corpus_name(tmp_path / "params.yaml") == "mine"
    for name in ("../../victim", "/tmp/x", "''", "a b", "é", "5", "~", "[a]", "'a\\nb'", "no"):
        (tmp_path / "params.yaml").write_text(f"corpus: {name}\n")
        with pytest.raises(UserError, match="params.yaml: corpus must be letters"):
            read_corpus_name(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("[1]\n")
    with pytest.raises(UserError, match="must be a mapping of sections"):
        read_corpus_name(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [("[high, ../x]", "levels must be letters"), ("[high, high]", "must not repeat a name"), ("[middle]", "levels must be among high, low"),
     ("[]", "a list of names"), ("high", "a list of names"), ("[.nan]", "levels must be letters"), ("[[high]]", "levels must be letters")],
)  # fmt: skip
def test_lists_of_names(tmp_path, text, words):
    (tmp_path / "params.yaml").write_text(f"levels: {text}\n")
    with pytest.raises(UserError, match=words):
        read_names(tmp_path / "params.yaml", "levels")


@dataclass(frozen=True, kw_only=True)
class Params:
    seeds: tuple[int, ...] = (1,)
    rate: float = 0.5
    also: tuple[str, ...] = ()
    most: int | None = None
    weights: str | tuple[str, ...] = ""
    others: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        require(0 < self.rate <= 1, f"rate must be in 0..1, found {self.rate}")
        require(len(self.others) < 9, f"others must be few, found {self.others}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("other: {}\n", "section 'mine' is missing"),
        ("mine: {rat: 1}\n", "mine.rat is not a parameter; known: also, most, others, rate, seeds, weights"),
        ("mine: {rate: 7}\n", "rate must be in 0..1, found 7"),
        ("mine: [\n", "not YAML"),
        ("mine: 3\n", "mine must be a mapping of parameters, found '3'"),
        ("mine: {rate: 1e-4}\n", "write 1.0e-4"),
        ("mine: {rate: fast}\n", "mine.rate must be a finite number, found 'fast'"),
        ("mine: {rate: .nan}\n", "mine.rate must be a finite number, found 'nan'"),
        ("mine: {rate: .inf}\n", "mine.rate must be a finite number, found 'inf'"),
        ("mine: {rate: " + "9" * 400 + "}\n", "more than 64 bits"),
        ("mine: {also: [.nan]}\n", "mine.also must be a list, each item a text, found '(nan,)'"),
        ("mine: {also: tiktok}\n", "mine.also must be a list, each item a text, found 'tiktok'"),
        ("mine: {seeds: [1, x]}\n", "mine.seeds must be a list, each item a whole number"),
        ("mine: {seeds: [true]}\n", "mine.seeds must be a list"),
        ("mine: {seeds: {a: 1}}\n", "mine.seeds must be a list"),
        ("mine: {most: 1.5}\n", "mine.most must be a whole number or null, found '1.5'"),
        ("mine: {weights: 3}\n", "mine.weights must be a text or a list, each item a text"),
        ("mine: {others: [a]}\n", "mine.others must be a mapping"),
        (
            "mine: {others: {" + "".join(f"k{n}: v, " for n in range(3000)) + "}}\n",
            "others must be few, found {'k0': 'v'",
        ),
        ("mine: {rate: [" + "x, " * 3000 + "x]}\n", "mine.rate must be a finite number"),
    ],
)
def test_bad_params_are_named(tmp_path, text, message):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match="params.yaml") as caught:
        load_params(tmp_path / "params.yaml", "mine", Params)
    assert message in str(caught.value) and len(str(caught.value)) < 800


def test_good_params(tmp_path):
    (tmp_path / "params.yaml").write_text("mine: {most: null, weights: [a], others: {a: b}, rate: 1}\n")
    found = load_params(tmp_path / "params.yaml", "mine", Params)
    assert (
        found == Params(weights=("a",), others={"a": "b"}, rate=1) and type(found.rate) is int
    )  # keys of caches and summaries tell 1 from 1.0
    (tmp_path / "params.yaml").write_text("mine: {seeds: [3, 4]}\n")
    assert load_params(tmp_path / "params.yaml", "mine", Params) == Params(seeds=(3, 4))


def test_keys_follow_version_content_and_params():
    assert item_key(1, "a", Params()) == item_key(1, "a", Params())
    assert (
        len(
            {
                item_key(1, "a", Params()),
                item_key(2, "a", Params()),
                item_key(1, "b", Params()),
                item_key(1, "a", Params(rate=1)),
            }
        )
        == 4
    )


def test_a_table_need_not_have_baselines(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("systems: []\nlevels: []\n")
    assert read_names(path, "systems") == ()
    with pytest.raises(UserError, match=r"levels must be a list of names, found '\[\]'"):
        read_names(path, "levels")

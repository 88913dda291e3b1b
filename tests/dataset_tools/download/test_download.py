"""Every video has a row that says what became of it, whatever its server does; what is finished is not fetched twice."""

import dataclasses
import re
import shutil

import pytest

from dataset_tools.download import __main__ as download_command
from dataset_tools.download import classify, fetch
from dataset_tools.download import stage as download
from dataset_tools.download.dead_links import DeadLink
from dataset_tools.download.params import Params
from dataset_tools.download.rows import DownloadRow
from dataset_tools.lib.core import schema
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.work_cache import file_sha256
from tests.helpers.film_site import content, corpus, padded

QUICK = Params(
    workers=1, retries=1, retry_wait=0, attempts=2, attempt_wait=0, socket_timeout=0.3, sleep_requests=0, sleep_min=0,
    sleep_max=0, min_ok=0,
)  # fmt: skip


def run(layout, params=QUICK, **more):
    return {row.id: row for row in download.download(layout, params, **more)}


OUTCOMES = {
    "ok": ("ok", ""), "moved": ("ok", ""), "cut": ("ok", ""), "stall": ("ok", ""),
    "404": ("permanent", "HTTP Error 404"), "410": ("permanent", "HTTP Error 410"), "451": ("permanent", "HTTP Error 451"),
    "401": ("auth", "HTTP Error 401"), "403": ("transient", "HTTP Error 403.*refused"),
    "429": ("transient", "HTTP Error 429"), "500": ("transient", "HTTP Error 500"), "503": ("transient", "HTTP Error 503"),
    "page": ("permanent", "not a video: a web page or a message came instead: 'sorry, film'"), "html": ("permanent", "not a video: .*'gone'"),
    "busypage": ("transient", "not a video: .*'Too many requests'"), "message": ("auth", "not a video: .*please log in"),
    "list": ("permanent", "not a video|only http"),
    "loop": ("permanent", "it redirects in circles"), "tofile": ("permanent", "only http and https are followed"),
    "half": ("transient", "the file is cut short: [0-9]+ bytes"), "short": ("transient", "the file is cut short: [0-9]+ bytes"),
    "long": ("transient", "more expected|bytes"), "hang": ("transient", "timed out"),
}  # fmt: skip


def test_what_servers_do(tmp_path, site, movie):
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(movie)
    site.redirects.update(moved="/ok.mp4", loop="/loop.mp4", tofile=secret.as_uri())
    site.bodies["list"] = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{secret.as_uri()}\n#EXT-X-ENDLIST\n".encode()
    layout = corpus(tmp_path, {f"v{n}": f"{site.url}/{n}.mp4" for n in OUTCOMES} | {"vnone": ""})
    rows = run(layout)
    assert {name: row.status for name, row in rows.items()} == {"vnone": "failed"} | {
        f"v{n}": s for n, (s, _) in OUTCOMES.items()
    }
    for name, (status, words) in OUTCOMES.items():
        row, path = rows[f"v{name}"], layout.stage("download") / f"v{name}.mp4"
        assert (path.read_bytes() == movie) if status == "ok" else not path.exists(), name
        assert (row.bytes, row.sha256) == ((len(movie), file_sha256(path)) if status == "ok" else (0, "")), name
        assert re.search(words, row.reason), (name, row.reason)
        assert row.reason.isprintable() and str(tmp_path) not in row.reason.replace(secret.as_uri(), ""), name
    assert rows["vok"].seconds == 4.0 and rows["vok"].warning == ""
    begins = {name: {begin for _, asked, begin in site.asked if asked == name} for name in ("cut", "stall")}
    assert all(any(0 < b <= len(movie) // 2 for b in found) for found in begins.values()), "resumed, not begun again"
    assert schema.read_records(layout.stage("download") / "rows.csv", DownloadRow)


def test_a_rerun_asks_only_for_what_can_succeed(tmp_path, site, movie):
    layout = corpus(tmp_path, {n: f"{site.url}/{n}.mp4" for n in ("ok", "404", "401", "503", "page")})
    first = run(layout)
    site.asked.clear()
    (layout.stage("download") / "ok.mp4").unlink()
    assert run(layout) == first and {name for _, name, _ in site.asked} == {"503"}
    assert (layout.stage("download") / "ok.mp4").read_bytes() == movie
    site.asked.clear()
    assert run(layout, again=True) == first and {name for _, name, _ in site.asked} == {"404", "401", "503", "page"}
    site.bodies["page"] = movie
    assert run(layout, again=True)["page"].status == "ok"
    site.asked.clear()
    assert run(layout)["page"].status == "ok" and "page" not in {name for _, name, _ in site.asked}


@pytest.mark.parametrize("wrong, words", [
    ({"format": "b[[["}, r"download.format: .*brackets.*, found 'b\[\[\['"),
    ({"cookies_from_browser": "netscape"}, 'download.cookies_from_browser: unsupported browser: "netscape"'),
    ({"cookies_file": "notes.txt"}, "download.cookies_file: 'notes.txt' does not look like a Netscape format cookies file"),
])  # fmt: skip
def test_settings_that_no_video_could_be_fetched_with_are_refused_first(tmp_path, site, wrong, words):
    layout = corpus(tmp_path, {"v": f"{site.url}/v.mp4", "w": f"{site.url}/503.mp4"})
    run(layout)
    (tmp_path / "notes.txt").write_text("buy milk\n")
    with pytest.raises(UserError, match=words):
        run(layout, dataclasses.replace(QUICK, **wrong))
    assert (layout.stage("download") / "rows.csv").is_file()


def test_cookies_matter_no_more_once_everything_is_there(tmp_path, site):
    layout = corpus(tmp_path, {"v": f"{site.url}/v.mp4"})
    run(layout)
    assert run(layout, dataclasses.replace(QUICK, cookies_from_browser="netscape"))["v"].status == "ok"


@pytest.mark.parametrize("line, found", [
    ("a.example TRUE / FALSE 0 session hush", "1 column"),
    ("a.example\tFALSE\t/\tFALSE\t0\tsession\thush\t", "8 columns"),
    ("a.example\tFALSE\t/\tFALSE\tnever\tsession\thush", "7 columns"),
])  # fmt: skip
def test_what_is_wrong_with_a_cookie_is_said_without_the_cookie(tmp_path, site, capfd, line, found):
    layout = corpus(tmp_path, {"v": f"{site.url}/secret.mp4"})
    (tmp_path / "cookies.txt").write_text(f"# Netscape HTTP Cookie File\n\n{line}\n")
    with pytest.raises(UserError, match=f"download.cookies_file: cookies.txt, line 3: .*, found {found}") as refused:
        run(layout, dataclasses.replace(QUICK, cookies_file="cookies.txt"))
    assert "hush" not in str(refused.value) and "hush" not in "".join(capfd.readouterr())


def test_cookies_open_what_was_closed_and_stay_as_they_are(tmp_path, site, movie):
    layout = corpus(tmp_path, {"v": f"{site.url}/private.mp4"})
    assert run(layout)["v"].status == "auth"
    jar = tmp_path / "cookies.txt"
    jar.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t2147483647\tkey\topen\n")
    before = jar.read_bytes()
    assert run(layout, dataclasses.replace(QUICK, cookies_file="cookies.txt"))["v"].status == "ok"
    assert jar.read_bytes() == before and content(layout)["v.mp4"] == movie
    with pytest.raises(UserError, match=r"download.cookies_file: no such file: none.txt"):
        run(layout, dataclasses.replace(QUICK, cookies_file="none.txt"))


def test_a_changed_file_is_noticed(tmp_path, site, movie):
    layout = corpus(tmp_path, {"v": f"{site.url}/film.mp4"})
    first = run(layout)["v"]
    site.bodies["film"] = padded(movie, len(movie) + 999, 1)
    next(layout.cache("download").glob("*/video.mp4")).write_bytes(b"rot")
    row = run(layout)["v"]
    assert row.status == "ok" and row.bytes == len(movie) + 999
    assert row.warning == f"changed: sha256 was {first.sha256}, is {row.sha256}"
    assert run(layout)["v"] == row
    shutil.rmtree(layout.cache("download"))
    shutil.copy(layout.stage("download") / "rows.csv", layout.manifest / "checksums.csv")
    assert run(layout)["v"].warning == ""
    (layout.manifest / "checksums.csv").write_text(f"id,sha256\nv,{first.sha256}\n")
    assert run(layout)["v"].warning == f"changed: sha256 was {first.sha256}, is {row.sha256}"


def test_half_of_one_version_is_not_completed_with_another(tmp_path, site, movie):
    old, new = padded(movie, 400_000, 1), padded(movie, 400_000, 2)
    site.bodies["stall"] = old
    layout = corpus(tmp_path, {"v": f"{site.url}/stall.mp4"})
    assert run(layout, dataclasses.replace(QUICK, attempts=1, retries=0))["v"].status == "transient"
    assert next(layout.cache("download").glob("*/video.mp4.part")).stat().st_size > 50_000
    site.bodies["stall"] = new
    assert run(layout)["v"].status == "ok"
    assert content(layout)["v.mp4"] == new


def test_several_at_once(tmp_path, site, movie):
    """The server answers only once two clients are waiting."""
    layout = corpus(tmp_path, {"a": f"{site.url}/meet.mp4?a", "b": f"{site.url}/meet.mp4?b"})
    rows = run(layout, dataclasses.replace(QUICK, workers=2, socket_timeout=10))
    assert [row.status for row in rows.values()] == ["ok", "ok"]
    same = corpus(tmp_path, {"a": f"{site.url}/ok.mp4", "b": f"{site.url}/ok.mp4"})
    site.asked.clear()
    assert all(row.bytes == len(movie) for row in run(same, dataclasses.replace(QUICK, workers=2)).values())
    assert [a[0] for a in site.asked].count("HEAD") == 1, "one address is fetched once"


def test_local_files(tmp_path, movie):
    layout = corpus(tmp_path, {"a": "../../../manifests/c/one.mp4", "b": "../../../manifests/c/none.mp4"})
    (layout.manifest / "one.mp4").write_bytes(movie)
    a, b = run(layout).values()
    assert (a.status, a.title) == ("ok", "") and content(layout)["a.mp4"] == movie
    assert (b.status, b.reason) == (
        "failed",
        "no such file: manifests/c/none.mp4; put it back, or correct the url in the manifest's videos.csv",
    )
    shutil.copy(layout.manifest / "one.mp4", layout.manifest / "none.mp4")
    assert run(layout)["b"].status == "ok"
    changed = padded(movie, len(movie) + 50, 1)
    (layout.manifest / "one.mp4").write_bytes(changed)
    again = run(layout)["a"]
    assert again.bytes == len(changed) and again.warning == f"changed: sha256 was {a.sha256}, is {again.sha256}"


def test_a_local_file_that_is_no_video_is_no_dead_link(tmp_path, movie):
    layout = corpus(tmp_path, {"a": "../../../manifests/c/a.mp4"})
    (layout.manifest / "a.mp4").write_text("a note")
    for _ in range(2):
        row = run(layout)["a"]
        assert row.status == "permanent" and row.reason.endswith("'a note'; replace manifests/c/a.mp4")
    assert not schema.read_records(layout.stage("download") / "dead_links.csv", DeadLink)
    (layout.manifest / "a.mp4").write_bytes(movie)
    assert run(layout)["a"].status == "ok"


def test_local_files_stay_inside_the_manifest(tmp_path, movie):
    (tmp_path / "secret.mp4").write_bytes(movie)
    layout = corpus(tmp_path, {"a": "../../../secret.mp4", "b": "../../../manifests/c/link.mp4", "c": str(tmp_path / "secret.mp4"),
                               "d": (tmp_path / "secret.mp4").as_uri(), "e": "../../../manifests/c/circle.mp4"})  # fmt: skip
    (layout.manifest / "circle.mp4").symlink_to("circle.mp4")
    (layout.manifest / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    rows = run(layout)
    assert {row.status for row in rows.values()} == {"failed"}
    assert (
        sum("leads out of c's manifest" in row.reason for row in rows.values()) == 3
        and "no such file" in rows["d"].reason
    )
    assert rows["e"].reason.startswith("no such file: manifests/c/circle.mp4")
    assert sorted(content(layout)) == ["dead_links.csv", "rows.csv"]


def test_dead_links_are_a_list_to_act_on(tmp_path, site):
    layout = corpus(tmp_path, {"gone": f"{site.url}/404.mp4?v=abc", "shut": f"{site.url}/401.mp4", "busy": f"{site.url}/503.mp4"},
                    title="=Best dances")  # fmt: skip
    clips = [schema.Clip(clip_id=f"k{n}", video_id="gone", song_id="s") for n in range(3)]
    schema.write_records(layout.stage("sources") / "clips.csv", clips)
    run(layout)
    gone, shut = schema.read_records(layout.stage("download") / "dead_links.csv", DeadLink)
    assert (gone.id, gone.status, gone.clips, gone.title) == ("gone", "permanent", 3, "'=Best dances")
    assert gone.archive == f"https://web.archive.org/web/*/{site.url}/404.mp4?v=abc" and gone.search.endswith(
        "q=%22abc%22"
    )
    assert (shut.id, shut.status) == ("shut", "auth") and "cookies_file" in shut.advice


def test_too_many_failures_end_the_stage_after_writing_the_rows(tmp_path):
    layout = corpus(tmp_path, {"a": "", "b": ""})
    layout.stage("download").mkdir()
    (layout.stage("download") / "a.mp4").write_bytes(b"of an earlier run")
    (tmp_path / "params.yaml").write_text("download: {min_ok: 0.5}\n")
    with pytest.raises(
        UserError, match="download: 0 of 2 ok, 2 failed, but download.min_ok asks for 50%; a: url is empty"
    ) as err:
        download_command.main(["--corpus", "c", "--root", str(tmp_path)])
    assert "import-annotations FILE" in str(err.value) and sorted(content(layout)) == ["dead_links.csv", "rows.csv"]
    assert len(schema.read_records(layout.stage("download") / "rows.csv", DownloadRow)) == 2


@pytest.mark.parametrize(
    "text, status",
    [
        ("ERROR: [youtube] abc: Private video. Sign in if you've been granted access", "auth"),
        ("ERROR: [youtube] abc: Video unavailable. This video has been removed by the uploader", "permanent"),
        ("ERROR: [youtube] abc: Sign in to confirm you're not a bot", "transient"),
        ("ERROR: [youtube] abc: This content isn't available, try again later", "transient"),
        ("ERROR: [TikTok] 1: This post is private, status code 10222", "auth"),
        ("ERROR: something nobody has seen before", "transient"),
    ],
)
def test_words_of_sites_that_answer_200_are_understood(text, status):
    from yt_dlp.utils import DownloadError

    found, reason = classify.classify(DownloadError(text))
    assert found == status
    assert not reason.startswith(("ERROR", "["))


def test_options_are_the_parameters(tmp_path):
    web = fetch.ydl_options(
        Params(max_height=480, sleep_min=1, sleep_max=2, cookies_from_browser="firefox"), tmp_path, local=False
    )
    assert web["format_sort"][0] == "res:480" and (web["sleep_interval"], web["max_sleep_interval"]) == (1, 2)
    assert (
        web["cookiesfrombrowser"] == ("firefox",)
        and not web["skip_unavailable_fragments"]
        and "enable_file_urls" not in web
    )
    assert fetch.ydl_options(Params(format="worst"), tmp_path, local=True)["format"] == "worst"
    for wrong in ({"workers": 0}, {"sleep_min": 9, "sleep_max": 1}, {"cookies_file": "a", "cookies_from_browser": "b"}):
        with pytest.raises(ValueError, match=r"must|not both"):
            Params(**wrong)

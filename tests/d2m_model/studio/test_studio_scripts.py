"""Moments of the page that a browser can't be brought into at will: its scripts in Node, with stand-ins for the server and the videos."""

import json
import shutil

import pytest

from tests.conftest import ROOT
from tests.helpers.within import run_within

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no Node on this machine")
BASE = """
globalThis.document = { getElementById: () => ({ dataset: {} }) };
globalThis.requestAnimationFrame = () => 0;
globalThis.CustomEvent ??= class extends Event { constructor(type, { detail }) { super(type); this.detail = detail; } };
const pause = ms => new Promise(done => setTimeout(done, ms)), tell = value => console.log(JSON.stringify(value));
"""
TWO_JOBS = """
import { Beats } from './beats.js';
const puts = [], beats = new Beats();
let lost = true;
globalThis.fetch = async (address, { method, body }) => {
  if (method === 'PUT' && lost) throw new Error('no server');
  if (method === 'PUT') puts.push([address, JSON.parse(body).beats]);
  const told = { beats: address.includes('/a/') ? [1, 2] : [5, 6], downbeats: [], steps: [], at: 0, version: 0, dancer: 0, history: { version: 1, at: 0 } };
  return { ok: true, text: async () => JSON.stringify(told) };
};
const adopt = async (job, list) => { await beats.adopt(job, { beats: list, downbeats: [], seconds: 9 }, beats.version); await pause(50); };
await adopt('a', [1, 2]);
beats.edit('moved beat', [{ time: 1.5, down: false }, { time: 2, down: false }]);
await pause(400);
lost = false;
beats.leave();
await adopt('b', [5, 6]);
await pause(900);
tell(puts);
"""
"""An edit of job a is lost; before it is sent again, the server answers and job b is opened."""
LOOP = """
import { Pictures } from './pictures.js';
import { Player } from './player.js';
class Video extends EventTarget {
  place = 0; paused = true; seeking = false; readyState = 4; src = 'preview'; jumps = []; classList = { toggle() {} };
  getAttribute() { return this.src; }
  setAttribute() {}
  get currentTime() { return this.place; }
  set currentTime(place) { this.place = place; this.jumps.push(place); }
  pause() { this.paused = true; }
}
const pictures = new Pictures(new Video(), new Video()), player = new Player(pictures, { stop() {}, dropClicks() {} }), { shown, ahead } = pictures;
let clock = 0;
player.now = () => clock;
Object.assign(player, { seconds: 10, playing: true, from: 0, when: 0 });
player.setLoop([0, 2]);
Object.assign(player, { from: 0, when: 0, seekAt: -1e6 });
shown.paused = false;
"""
"""A loop of 2 s plays; `clock` is what is heard."""


@pytest.fixture
def run(tmp_path):
    """Run a script beside those of the page; gives what it tells."""
    shutil.copytree(ROOT / "d2m_model" / "studio" / "static", tmp_path, dirs_exist_ok=True)
    (tmp_path / "package.json").write_text('{"type": "module"}')

    def run(script: str):
        (tmp_path / "base.js").write_text(BASE + "Object.assign(globalThis, { pause, tell });")
        (tmp_path / "test.js").write_text("import './base.js';\n" + script)
        done = run_within(60, [NODE, "test.js"], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_save_that_is_tried_again_after_its_job_was_left_never_sends_the_beats_of_another_job(run):
    assert run(TWO_JOBS) == [["/api/jobs/a/beats", [1.5, 2]]]


def test_a_picture_that_ran_on_beyond_the_loop_is_brought_back(run):
    """As after a pause of the page, in which the loop's end was not noticed."""
    frames = "for (let k = 0; k < 20; k++) { clock = shown.place = 2.5 + k / 30; player.seen(0, shown.place, 0); }"
    first, *_ = run(f"{LOOP} {frames} tell(shown.jumps);")
    assert first < 2


def test_a_second_picture_that_was_started_and_not_shown_in_time_waits_again(run):
    stall = "player.last = 1.98; Object.assign(ahead, { paused: false, place: 0.6 }); clock = 2.6; player.turn(player.position());"
    assert run(f"{LOOP} {stall} tell([ahead.paused, ahead.place, shown.jumps.length]);") == [True, 0, 1]

"""Dances of the demo corpus: on the beat far above chance, human, within the body's limits."""

import numpy as np
import pytest

from dataset_tools.demo.music.songs import GENRES, compose
from dataset_tools.demo.render.choreography import choreograph, minimum_jerk_path
from dataset_tools.demo.render.moves import CALM, MOVES, VOCABULARY, mirror
from dataset_tools.demo.render.skeleton import DOF_RANGES, DOFS, Body, forward

FPS = 30
YAW = DOFS.index("yaw")


def joint_speed(angles, fps=FPS):
    """(T,) mean speed of the limbs' joints in the picture plane, body heights a second."""
    joints = forward(Body(), angles).joints[:, 5:17, :2]
    return np.linalg.norm(np.gradient(joints, axis=0), axis=-1).mean(axis=1) * fps


def minima(speed, fps=FPS):
    """Seconds of the local minima of a curve."""
    return (np.flatnonzero((speed[1:-1] <= speed[:-2]) & (speed[1:-1] < speed[2:])) + 1) / fps


def share_within(events, times, seconds=0.07):
    return np.mean([np.abs(events - t).min() <= seconds for t in times])


@pytest.fixture(scope="module", params=sorted(GENRES))
def song(request):
    return compose(21, request.param)


def test_shape_type_and_limits(song):
    for seed in range(4):
        angles = choreograph(song, 3.0, 10.34, seed=seed)
        assert angles.shape == (round(7.34 * FPS), len(DOFS)) and angles.dtype == np.float32
        assert np.isfinite(angles).all()
        limits = np.array([DOF_RANGES[name] for name in DOFS])
        assert (angles >= limits[:, 0] - 1e-4).all() and (angles <= limits[:, 1] + 1e-4).all()
    assert choreograph(song, 1.0, 3.0, seed=0, fps=50).shape[0] == 100


def test_same_seeds_same_dance_and_cuts_agree(song):
    whole = choreograph(song, 10.0, 20.0, seed=4, move_seed=9)
    assert whole.tobytes() == choreograph(song, 10.0, 20.0, seed=4, move_seed=9).tobytes()
    np.testing.assert_allclose(choreograph(song, 14.0, 18.0, seed=4, move_seed=9), whole[120:240], atol=1e-3)


def test_dancers_of_a_clip_share_the_routine_not_the_execution(song):
    one, two = (choreograph(song, 8.0, 28.0, seed=seed, move_seed=5) for seed in (1, 2))
    other = choreograph(song, 8.0, 28.0, seed=2, move_seed=6)
    arms = [k for k, name in enumerate(DOFS) if name[1:] in ("ab", "fl", "el")]
    alike = lambda a, b: np.corrcoef(a[:, arms].T, b[:, arms].T).diagonal(len(arms)).mean()
    assert alike(one, two) > 0.85
    assert alike(one, two) > alike(one, other) + 0.4
    assert np.abs(one - two)[:, arms].mean() > 2.0  # degrees


def test_speed_minima_fall_on_beats_far_above_chance(song):
    hits, chance = [], []
    for seed in range(4):
        at_rest = minima(joint_speed(choreograph(song, 0.0, song.duration, seed=seed)))
        beats = song.beats[2:-2]
        hits.append(share_within(at_rest, beats))
        shifts = np.linspace(0.15, 0.85, 15) * 60 / song.tempo
        chance.append(np.mean([share_within(at_rest, beats + s) for s in shifts]))
    assert np.mean(hits) > 0.8
    assert np.mean(hits) > np.mean(chance) + 0.4


def test_braking_tells_the_phase_of_the_beat(song):
    """Where speed falls, weighted by how fast, is concentrated just before the beat: also tells beat from half-beat."""
    for seed in range(3):
        speed = joint_speed(choreograph(song, 0.0, song.duration, seed=seed))
        braking = np.maximum(0.0, -np.gradient(speed))
        phase = (np.arange(len(speed)) / FPS - song.beats[0]) * song.tempo / 60
        mean = np.sum(braking * np.exp(2j * np.pi * phase)) / braking.sum()
        assert np.abs(mean) > 0.4
        assert -0.25 < np.angle(mean) / (2 * np.pi) < 0.03


def test_dancers_are_late_and_early_like_people():
    """Against the exact grid the instants of rest scatter by 15 to 30 ms, and dancers differ in their constant lag."""
    song, fps = compose(2, "disco"), 150
    medians, spreads = [], []
    for seed in range(8):
        dance = choreograph(song, 0.0, song.duration, seed=seed, move_seed=1, fps=fps)
        at_rest = minima(joint_speed(dance, fps), fps)
        error = np.array([at_rest[np.abs(at_rest - b).argmin()] - b for b in song.beats[2:-2]])
        error = error[np.abs(error) < 0.1]
        medians.append(np.median(error))
        spreads.append(error.std())
    assert 0.013 < np.mean(spreads) < 0.030
    assert 0.005 < np.std(medians) < 0.020
    assert abs(np.mean(medians)) < 0.015  # together they are on the beat


def test_calm_music_is_danced_calmly():
    ratios = []
    for genre in GENRES:
        for seed in range(2):
            song = compose(seed, genre)
            speed = joint_speed(choreograph(song, 0.0, song.duration, seed=seed))
            mean = {}
            for section in song.sections[:-1]:
                frames = slice(*(int(song.beats[b] * FPS) for b in (section.first, section.last - 1)))
                mean.setdefault(section.name, []).append(speed[frames].mean())
            if "break" in mean:
                ratios.append(np.mean(mean["break"]) / np.mean(mean["chorus"]))
    assert len(ratios) >= 4 and np.mean(ratios) < 0.65 and max(ratios) < 1.0


def test_a_song_of_two_seconds_can_be_danced():
    assert choreograph(compose(0, "breaks", seconds=2.0), 0.0, 2.0, seed=0).shape == (60, len(DOFS))


def test_full_turns_happen_now_and_then():
    song = compose(1, "house")
    turned = [np.ptp(choreograph(song, 5.0, 55.0, seed=seed)[:, YAW]) for seed in range(10)]
    assert 2 <= sum(t > 300 for t in turned)
    still = [np.ptp(choreograph(song, t, t + 6.0, seed=3)[:, YAW]) for t in range(2, 50, 6)]
    assert sum(t < 180 for t in still) >= len(still) / 2


def test_motion_has_no_jumps_between_frames(song):
    for seed in range(4):
        step = np.abs(np.diff(choreograph(song, 0.0, song.duration, seed=seed), axis=0))
        assert step.max() < 60  # degrees in a thirtieth of a second; the fastest are full turns


@pytest.mark.parametrize("snap", [1.0, 1.6])
def test_path_visits_its_keys_at_rest(snap):
    when, values = np.array([0.0, 0.5, 0.8, 1.6]), np.array([0.0, 30.0, -10.0, 20.0])
    np.testing.assert_allclose(minimum_jerk_path(when, values, when, snap), values, atol=1e-9)
    near = 1e-4
    speed = np.abs(
        minimum_jerk_path(when, values, when[1:-1] + near, snap)
        - minimum_jerk_path(when, values, when[1:-1] - near, snap)
    ) / (2 * near)
    assert (speed < 0.1).all()
    dense = minimum_jerk_path(when, values, np.linspace(0, 0.5, 50), snap)
    assert (np.diff(dense) >= 0).all()
    assert (
        minimum_jerk_path(when, values, np.array([0.25]), snap)[0] == pytest.approx(15.0)
        if snap == 1
        else dense[24] < 13
    )


def test_moves_are_well_formed():
    assert set(VOCABULARY) == set(GENRES)
    assert {*CALM, *(name for names in VOCABULARY.values() for name in names)} <= set(MOVES)
    for name, move in MOVES.items():
        assert move.counts in (1, 2, 4), name
        assert sum(hit.turn for hit in move.hits) % 360 == 0, name
        for hit in move.hits:
            assert 0 <= hit.count < move.counts, name
            assert set(hit.pose) <= set(DOFS), name
            for dof, value in hit.pose.items():
                low, high = DOF_RANGES[dof]
                assert low <= value <= high, (name, dof)
            assert mirror(mirror(hit)) == hit
    assert mirror(MOVES["punch"].hits[0]).pose["rfl"] == MOVES["punch"].hits[0].pose["lfl"]


@pytest.mark.parametrize("name", ["punch", "lunge", "snap"])
def test_a_mirrored_hit_is_the_mirror_image_of_the_body(name):
    def joints(hit):
        return forward(Body(), np.array([hit.pose.get(dof, 0.0) for dof in DOFS])).joints[:17]

    swapped = [0, *(k + 1 if k % 2 else k - 1 for k in range(1, 17))]  # left and right are neighbours after the nose
    hit = MOVES[name].hits[0]
    np.testing.assert_allclose(joints(mirror(hit)), joints(hit)[swapped] * (-1, 1, 1), atol=1e-9)
    assert np.abs(joints(mirror(hit)) - joints(hit)).max() > 0.1


@pytest.mark.parametrize(("start", "end"), [(-1.0, 2.0), (3.0, 3.0), (5.0, 4.0)])
def test_an_empty_stretch_is_refused(start, end):
    with pytest.raises(ValueError, match="start and end"):
        choreograph(compose(0, "pop", seconds=10), start, end, seed=0)

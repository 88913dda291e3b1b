"""A song of known beats and pitch on a dance of known beats: they meet, the pitch stays, what is too far is refused."""

import numpy as np
import pytest
import soundfile

from d2m_model.generate.own_music import OwnMusic, own_music
from d2m_model.generate.own_songs import OwnSong, read_song, read_songs, sharpened
from d2m_model.generate.song_fit import Fit, _taut, best_fit
from d2m_model.rhythm.beats_file import Beats, tempo_of
from dataset_tools.lib.audio.stretching import stretch
from dataset_tools.lib.core.errors import UserError

RATE = 44100
TONE = 440.0


def beat_times(bpm, seconds, first=0.3):
    return np.arange(first, seconds, 60 / bpm)


def song_audio(times, seconds, rate=RATE, downbeats=(), tone=0.1):
    """A click at each time, louder at the down-beats, over a steady tone of 440 Hz."""
    audio = tone * np.sin(2 * np.pi * TONE * np.arange(round(seconds * rate)) / rate)
    click = np.exp(-np.arange(rate // 20) / (rate / 300)) * np.random.default_rng(0).standard_normal(rate // 20)
    for time in times:
        at = round(time * rate)
        part = audio[at : at + len(click)]
        part += (0.9 if np.isclose(time, downbeats, atol=0.01).any() else 0.45) * click[: len(part)]
    return audio.clip(-1, 1).astype(np.float32)


def click_times(audio, rate):
    """Where the power of what is above 2 kHz rises: the clicks' times in seconds."""
    from scipy.signal import butter, sosfilt

    power = sosfilt(butter(4, 2000, "high", fs=rate, output="sos"), audio) ** 2
    level = np.convolve(power, np.ones(rate // 500) / (rate // 500))[: len(audio)]
    rises = np.flatnonzero((level[1:] > 0.1 * level.max()) & (level[:-1] <= 0.1 * level.max())) / rate
    return rises[np.diff(rises, prepend=-1) > 0.15]


def worst(found, wanted):
    return max(np.abs(found - time).min() for time in wanted)


def pitch(audio, rate):
    """Hz of the strongest frequency."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 8 * len(audio)))
    return spectrum.argmax() * rate / (8 * len(audio))


def song(path, bpm, seconds, **options):
    times = beat_times(bpm, seconds, **options)
    return OwnSong(
        path=path, beats=Beats(fps=30, seconds=seconds, beats=times, downbeats=times[::4], tempo=tempo_of(times))
    )


def dance(bpm, seconds, first_downbeat=0, **options):
    times = beat_times(bpm, seconds, **options)
    return Beats(fps=30, seconds=seconds, beats=times, downbeats=times[first_downbeat::4], tempo=tempo_of(times))


def test_a_song_of_118_lies_on_a_dance_of_124(tmp_path):
    """Through the file, the tracker and the stretcher: every beat within 20 ms, the tone's pitch within 1 %."""
    (tmp_path / "songs").mkdir()
    times = beat_times(118, 20)
    soundfile.write(
        tmp_path / "songs" / "song.wav", np.stack([song_audio(times, 20, downbeats=times[2::4])] * 2, 1), RATE
    )
    wanted = dance(124, 12, first=0.45)
    made = own_music(read_songs(tmp_path / "songs", tmp_path / "cache"), wanted, 12.0)
    assert made.audio.shape == (2, 12 * RATE) and made.rate == RATE and made.audio.dtype == np.float32
    assert worst(click_times(made.audio[0], RATE), wanted.beats) < 0.02
    assert abs(pitch(made.audio[0, RATE : 10 * RATE], RATE) / TONE - 1) < 0.01
    assert all(0.92 <= speed <= 1.08 for speed in made.fit.speeds) and abs(made.fit.speeds[0] - 124 / 118) < 0.01
    assert "song.wav from" in made.told
    again = own_music(read_songs(tmp_path / "songs", tmp_path / "cache"), wanted, 12.0)
    assert np.array_equal(made.audio, again.audio)


def test_uneven_beats_meet_with_the_pitch_kept():
    """Beats of both wander by up to 12 ms: each still meets, without a seam that is heard in the tone."""
    rng = np.random.default_rng(3)
    source, wanted = beat_times(118, 20), beat_times(122, 15, first=0.5)
    source, wanted = (times + rng.uniform(-0.012, 0.012, len(times)) for times in (source, wanted))
    kept = OwnSong(path=None, beats=Beats(fps=30, seconds=20, beats=source))
    fit = best_fit([kept], wanted, np.zeros(0), 15.0)
    made = stretch(song_audio(source, 20)[None], RATE, fit.moments, 15.0)[0]
    assert worst(click_times(made, RATE), wanted) < 0.02
    tone = stretch(song_audio([], 20)[None], RATE, fit.moments, 15.0)[0]
    assert abs(pitch(tone[RATE:-RATE], RATE) / TONE - 1) < 0.01
    level = np.sqrt((tone[RATE // 2 : -RATE // 2].reshape(-1, RATE // 20) ** 2).mean(axis=1))
    assert len(fit.moments) > 3 and level.min() > 0.7 * level.max()


def test_downbeats_meet_downbeats(tmp_path):
    wanted = dance(121, 10, first_downbeat=3)
    fit = best_fit([song(tmp_path / "a.wav", 120, 40)], wanted.beats, wanted.downbeats, 10.0)
    at = np.interp(wanted.downbeats, *np.array(fit.moments)[:, ::-1].T)
    assert fit.downbeats == 1.0
    inner = at[(wanted.downbeats >= fit.moments[0][1]) & (wanted.downbeats <= fit.moments[-1][1])]
    assert worst(beat_times(120, 40)[::4], inner) < 0.02


def test_strong_beats_meet_strong_ones(tmp_path):
    times, wanted = beat_times(120, 60), beat_times(120, 8)
    pattern = np.random.default_rng(1).random(len(times))
    kept = OwnSong(path=tmp_path, beats=Beats(fps=30, seconds=60, beats=times, strength=pattern))
    fit = best_fit([kept], wanted, np.zeros(0), 8.0, pattern[37 : 37 + len(wanted)])
    assert abs(fit.moments[0][0] - times[37]) < 1e-6


@pytest.mark.parametrize(("bpm", "speed"), [(62, 1.0), (244, 1.016), (124, 1.0)])
def test_half_and_double_tempo_fit(tmp_path, bpm, speed):
    wanted = dance(124, 10)
    fit = best_fit([song(tmp_path / "a.wav", bpm, 40)], wanted.beats, wanted.downbeats, 10.0)
    assert abs(fit.speeds[0] - speed) < 0.002 and fit.offset < 0.01


def test_too_far_a_tempo_is_refused_with_the_nearest(tmp_path):
    wanted = dance(124, 10)
    songs = [song(tmp_path / "slow.wav", 100, 40), song(tmp_path / "near.wav", 113, 40)]
    with pytest.raises(
        UserError,
        match=r"dance's 124.0 beats a minute.* 8%; the nearest tempo is 113.0 \(near.wav\): add songs of 115 to 135",
    ) as caught:
        best_fit(songs, wanted.beats, wanted.downbeats, 10.0)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"has an excerpt for the dance's 10.0 s.*and lasts 8.0 s"):
        best_fit([song(tmp_path / "short.wav", 124, 8)], wanted.beats, wanted.downbeats, 10.0)
    with pytest.raises(UserError, match="the dance has 2 beats"):
        best_fit(songs, wanted.beats[:2], wanted.downbeats, 10.0)


def test_uneven_beats_are_blamed_and_not_the_songs(tmp_path):
    gaps = np.array([0.3, 0.6] * 8)
    beats = 0.2 + np.concatenate([[0], np.cumsum(gaps)])
    songs = [song(tmp_path / "near.wav", 60 / gaps.mean(), 40)]
    with pytest.raises(
        UserError, match=r"beats are too uneven .*: 0.30 to 0.60 s .*; move or delete the beats"
    ) as caught:
        best_fit(songs, beats, np.zeros(0), 8.0)
    assert "no song" not in str(caught.value) and "\n" not in str(caught.value)


def test_beats_that_a_song_of_their_own_tempo_could_follow_are_not_blamed(tmp_path):
    gaps = np.array([0.5] * 8 + [0.47] * 8 + [0.53] * 8)
    beats = 0.2 + np.concatenate([[0], np.cumsum(gaps)])
    best_fit([song(tmp_path / "same.wav", 120, 40)], beats, np.zeros(0), 13.0)
    with pytest.raises(UserError, match="no song .* nearest tempo, 112.0, .* nearer to that tempo"):
        best_fit([song(tmp_path / "slower.wav", 112, 40)], beats, np.zeros(0), 13.0)


def test_a_taut_string_bends_only_where_it_must():
    at = np.arange(20.0)
    assert _taut(at, 3 * at, 0.1)[0] == [0, 19]
    corner = np.where(at < 10, at, 10 + 2 * (at - 10))
    bends, heights = _taut(at, corner, 1e-9)
    assert bends == [0, 10, 19] and np.allclose(heights, corner[bends])
    noise = np.random.default_rng(4).uniform(-0.2, 0.2, 20)
    bends, heights = _taut(at, at + noise, 0.15)
    assert np.abs(np.interp(at, at[bends], heights) - at - noise).max() <= 0.15 + 1e-9
    rough = np.abs(np.diff(at + noise) - 1).max()
    assert np.abs(np.diff(heights) / np.diff(at[bends]) - 1).max() < rough / 2


def test_a_missing_beat_of_the_dance_is_counted(tmp_path):
    wanted = np.delete(beat_times(124, 10), 7)
    fit = best_fit([song(tmp_path / "a.wav", 118, 40)], wanted, np.zeros(0), 10.0)
    assert abs(fit.speeds[0] - 124 / 118) < 0.002 and fit.offset < 0.008


def test_songs_are_tracked_once_and_broken_files_left_out(tmp_path, capsys):
    calls = []

    def tracker(audio):
        calls.append(len(audio))
        return beat_times(118, 10), beat_times(118, 10)[::4]

    folder = tmp_path / "songs"
    (folder / "inner").mkdir(parents=True)
    soundfile.write(folder / "inner" / "b.flac", song_audio(beat_times(118, 10), 10), RATE)
    (folder / "broken.mp3").write_bytes(b"no music at all")
    (folder / "notes.txt").write_text("no song")
    for _ in range(2):
        (found,) = read_songs(folder, tmp_path / "cache", tracker, "known")
        assert found.name == "b.flac" and abs(found.beats.tempo - 118) < 0.1
    assert calls == [220500]
    assert "left out: " in (said := capsys.readouterr().out) and "broken.mp3" in said
    next((tmp_path / "cache").glob("*.json")).write_text("{")
    read_songs(folder, tmp_path / "cache", tracker, "known")
    assert len(calls) == 2
    (folder / "inner" / "b.flac").unlink()
    with pytest.raises(UserError, match="none of its 1 audio files"):
        read_songs(folder, tmp_path / "cache", tracker, "known")
    with pytest.raises(UserError, match="no such folder"):
        read_songs(tmp_path / "gone", tmp_path / "cache")


def test_a_song_that_cannot_be_read_is_called_an_audio_file(tmp_path):
    for content in (b"no music at all", b"#EXTM3U\n#EXTINF:9,\nother.mp3\n"):
        (tmp_path / "song.mp3").write_bytes(content)
        with pytest.raises(UserError, match="^song.mp3: not a readable audio file: "):
            read_song(tmp_path / "song.mp3")


def test_a_file_of_one_sample_is_left_out_each_time(tmp_path, capsys):
    soundfile.write(tmp_path / "song.wav", song_audio(beat_times(118, 10), 10), RATE)
    soundfile.write(tmp_path / "one.wav", np.zeros(1), RATE)
    for _ in range(2):
        (found,) = read_songs(
            tmp_path, tmp_path / "cache", lambda audio: (beat_times(118, 10), beat_times(118, 10)[::4]), "known"
        )
        assert found.name == "song.wav"
        assert "one.wav: lasts 0.000 s; a song has at least 1" in capsys.readouterr().out


def test_where_an_excerpt_begins_is_told_by_its_first_speed(tmp_path):
    """Second 2 of the dance is second 10 of the song, and up to there it is half again as fast."""
    fit = Fit(
        song=song(tmp_path / "a.wav", 120, 40),
        moments=[(10, 2), (16, 6), (20, 10)],
        speeds=(1.0, 1.5),
        downbeats=None,
        offset=0.0,
    )
    assert "a.wav from 7.0 s at 1.000 to 1.500" in OwnMusic(audio=np.zeros((1, 9), np.float32), rate=RATE, fit=fit).told


def test_tracked_beats_are_moved_to_the_attacks():
    times = beat_times(118, 10)
    late = np.round((times + 0.015) * 43) / 43  # as a tracker says them that hears in steps of 23 ms
    audio = song_audio(times, 10, rate=22050)
    found = sharpened(Beats(fps=30, seconds=10, beats=late, downbeats=late[1::4]), audio)
    assert np.abs(late - times).max() > 0.015 and np.abs(found.beats - times).max() < 0.01
    assert np.array_equal(found.downbeats, found.beats[1::4])
    noise = np.random.default_rng(2).standard_normal(220500).astype(np.float32)
    assert np.abs(sharpened(Beats(fps=30, seconds=10, beats=late), noise).beats - late).max() <= 0.05

// Puts the parts of the page together.
import { $, ask, clock, complain, hush, options, say, show, write } from './dom.js';
import { answering, post, watchConnection } from './api.js';
import { open, refresh, state, watch } from './state.js';
import { Sound } from './sound.js';
import { Pictures } from './pictures.js';
import { FPS, Player } from './player.js';
import { Timeline } from './timeline.js';
import { Skeleton } from './skeleton.js';
import { Beats } from './beats.js';
import { Editor } from './editor.js';
import { Compare } from './compare.js';
import { Region } from './region.js';
import { MakeForm } from './make.js';
import { Takes } from './takes.js';
import { OwnMusic } from './own.js';
import { Exports } from './exports.js';
import { Steps } from './steps.js';
import { Jobs } from './jobs.js';
import { listenDrops } from './drop.js';
import { drawHelp, listen, table } from './keys.js';
import { keepInSight } from './dock.js';

const JOB = /^[0-9a-f]{16}$/;
const pictures = new Pictures($('video'), $('video-ahead')), player = new Player(pictures, new Sound()), timeline = new Timeline($('wave')), skeleton = new Skeleton($('skeleton'), pictures);
const beats = new Beats(), editor = new Editor(beats, player, timeline), compare = new Compare(player, player.sound, timeline);
const region = new Region(player, timeline), takes = new Takes(compare, player);
const form = new MakeForm(beats, region), own = new OwnMusic(beats, () => form.checked('loudness')), exports = new Exports(beats), steps = new Steps(), jobs = new Jobs();
let shown = null, opened = null, arrived = null;

// Difference picture - sound in seconds, as last measured; null before the first measurement. For the benchmark.
window.studioDrift = () => player.drift;
window.studioPlace = at => player.position(at);

function screen() {
  const id = location.hash.slice(1);
  open(JOB.test(id) ? id : null);
}

// Nothing of the job that is left stays: sound, picture, waveform, beats, undo, what was told.
function leave() {
  player.reset(0);
  timeline.clear();
  timeline.blank(true);
  region.reset();
  compare.leave();
  beats.leave();
  pictures.load(null);
  editor.tempo = null;
  shown = arrived = null;
  hush();
}

// Whoever opened a job with the keyboard goes on in it.
function enter(job) {
  arrived = job.id;
  if ([null, document.body].includes(document.activeElement) || !document.activeElement.checkVisibility()) $('title').focus({ preventScroll: true });
}

function followVideo(job) {
  show($('no-picture'), !job.video);
  const unread = ['failed', 'cancelled'].includes(job.steps.read.state);
  write($('no-picture'), unread ? 'There is no picture: the video was not read.' : 'The picture comes when the video is read.');
  pictures.show(job.video);
  for (const id of ['play', 'frame-back', 'frame-on', 'seek']) $(id).disabled = !job.video;
  if (!job.video || shown === job.id) return;
  shown = job.id;
  player.reset(job.video.seconds);
  region.reset();
  $('seek').max = $('region-to').max = $('region-from').max = job.video.seconds;
  pictures.load(`/api/jobs/${job.id}/preview.mp4`);
  timeline.load(null, job.video.seconds);
}

function followDancers(job) {
  const dancers = (job.dancers ?? []).filter(({ index, seen }) => seen > 0 || index === job.dancer), several = dancers.length > 1;
  show($('dancer-label'), several);
  if (several && document.activeElement !== $('dancer')) {
    options($('dancer'), dancers.map(({ index, seen }) => [String(index), `${index + 1}, seen in ${Math.round(100 * seen)} %`]), String(job.dancer));
  }
  skeleton.follow(job.dancer ?? 0);
  const done = job.steps.pose.state === 'done';
  skeleton.load(`/api/jobs/${job.id}/pose.bin`, done ? job.pose : null, done && job.pose ? `${job.id} ${JSON.stringify(job.pose)}` : '');
}

function follow({ studio, job, id }, version) {
  show($('start'), id === null);
  show($('job'), Boolean(job));
  show($('all-work'), id !== null);
  if (studio) jobs.follow(studio);
  if (id !== opened) leave();
  opened = id;
  write($('title'), job?.name ?? (id === null ? '' : 'Opening …'));
  show($('title'), id !== null);
  document.title = job ? `${job.name} - Studio` : 'Studio';
  if (!job || !studio) return;
  if (arrived !== job.id) enter(job);
  followVideo(job);
  steps.follow(job, studio.queue);
  followDancers(job);
  beats.there = Boolean(job.beats);
  if (job.beats) {
    beats.adopt(job.id, job.beats, version);
    editor.tempo = job.beats.tempo;
  }
  compare.follow(job);
  form.heard = compare.heard;
  form.follow(studio, job);
  takes.follow(job);
  own.follow(studio, job);
  exports.follow(job, compare.heard);
  editor.sources([...(job.dancers[job.dancer]?.seen ? [['motion', 'the motion']] : []), ...(job.video?.sound ? [['original', "the video's audio"]] : []), ...job.takes.filter(take => take.state === 'done').map(take => [String(take.number), `take ${take.number}`])]);
  editor.draw();
}

function drawPlace() {
  const place = player.position();
  timeline.place(place, player.playing);
  if (document.activeElement !== $('seek') || !scrubbing) $('seek').value = place;
  $('seek').setAttribute('aria-valuetext', `${place.toFixed(2)} s`);
  write($('time'), `${clock(place)} / ${clock(player.seconds)} s`);
}

let scrubbing = false;
$('seek').addEventListener('pointerdown', () => { scrubbing = true; });
$('seek').addEventListener('pointerup', () => { scrubbing = false; });
$('seek').addEventListener('keydown', event => {
  const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -FPS, PageUp: FPS }[event.key];
  if (!step) return;
  event.preventDefault();
  if (Math.abs(step) > 1) player.seek(player.position() + step / FPS);
  else player.step(step);
});
$('seek').addEventListener('input', () => player.seek($('seek').valueAsNumber));
$('play').addEventListener('click', () => player.toggle());
$('picture').addEventListener('click', () => player.toggle());
$('frame-back').addEventListener('click', () => player.step(-1));
$('frame-on').addEventListener('click', () => player.step(1));
$('click').addEventListener('change', () => { player.setClicking($('click').checked); say($('click').checked ? 'Click on.' : 'Click off.'); });
$('skeleton-on').addEventListener('change', () => { skeleton.on = $('skeleton-on').checked; skeleton.draw(); say(skeleton.on ? 'Skeleton on.' : 'Skeleton off.'); });
$('zoom-in').addEventListener('click', () => timeline.zoomBy(2));
$('zoom-out').addEventListener('click', () => timeline.zoomBy(0.5));
$('zoom-all').addEventListener('click', () => timeline.zoomBy(0));
$('delete-job').addEventListener('click', () => jobs.drop(state.job));
$('dancer').addEventListener('change', async () => {
  const { job } = state, dancer = Number($('dancer').value);
  if ((job.beats?.edited || beats.unsaved || beats.saving) && !await ask('The beats are found again from this dancer, and replace your edited beats; Undo brings back both, the dancer and your beats. Go on?')) {
    $('dancer').value = String(job.dancer);
    return;
  }
  try {
    await answering(`Dancer ${dancer + 1} will be followed`, () => state.id !== job.id);
    await beats.save();
    await post(`/api/jobs/${job.id}/dancer`, { dancer });
    beats.renew();
    skeleton.follow(dancer);
    say(`Dancer ${dancer + 1} is followed.`);
  } catch (error) { complain(error); }
  $('dancer').blur();
  refresh();
});

steps.cancelled = () => {
  compare.quiet = steps.quiet = true;
  setTimeout(() => { compare.quiet = steps.quiet = false; }, 4000);
};
listenDrops({ opened: () => state.job !== null, take: file => jobs.take(file), songs: files => own.send(files) });
beats.addEventListener('saved', () => refresh());
player.addEventListener('place', drawPlace);
player.addEventListener('frame', () => skeleton.at(player.frame));
player.addEventListener('state', () => {
  write($('play'), player.playing ? 'Pause' : 'Play');
  $('play').setAttribute('aria-pressed', player.playing);
});
timeline.addEventListener('seek', event => player.seek(event.detail.time));

// After a click with the mouse or a finger the keys belong to the dance again, so that Space plays.
let pointing = false;
addEventListener('pointerdown', () => { pointing = true; }, true);
addEventListener('keydown', () => { pointing = false; }, true);
$('job').addEventListener('click', event => {
  if (event.detail > 0) event.target.closest('button, input[type=checkbox], summary')?.blur();
});
$('job').addEventListener('change', event => {
  if (pointing && event.target.matches('select, input[type=range]')) event.target.blur();
});

watchConnection(trouble => {
  show($('reconnecting'), trouble);
  jobs.lost = trouble !== null;
  write($('reconnecting'), trouble === 'locked' ? 'This page has no key: please open the address that the terminal shows. Nothing is lost.' : trouble ? 'The server does not answer: reconnecting … Nothing is lost.' : '');
  if (!trouble) say('Connected again.');
});
watch(follow, () => beats.version);
addEventListener('hashchange', screen);
const entries = table({ player, editor, compare, region, timeline, make: form });
drawHelp(entries);
keepInSight($('dock'), $('dock-body'));
listen(entries, () => !$('job').hidden);
show($('start'), !JOB.test(location.hash.slice(1)));
screen();
refresh();

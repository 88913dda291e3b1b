// The form for new takes: style, strictness, seed, level, loudness, number; the whole dance, or a region of an earlier take.
import { $, complain, options, say, show, takeWords, wait, write } from './dom.js';
import { post, upload } from './api.js';
import { refresh } from './state.js';

const FIELDS = ['style', 'strictness', 'seed', 'level', 'loudness', 'count'], OWN = 'file', LARGEST = 2 ** 31;

export class MakeForm {
  constructor(beats, region) {
    Object.assign(this, { beats, region, job: null, typedSeed: false, pending: false });
    $('make-form').addEventListener('submit', event => { event.preventDefault(); this.make({}); });
    $('redo-region').addEventListener('click', () => this.remake('redo'));
    $('keep-region').addEventListener('click', () => this.remake('keep'));
    $('dice').addEventListener('click', () => {
      $('seed').value = Math.floor(Math.random() * LARGEST);
      this.typedSeed = true;
      this.remember();
      say(`Seed ${$('seed').value}.`);
    });
    $('seed').addEventListener('input', () => { this.typedSeed = true; });
    $('style').addEventListener('change', () => this.drawStyle());
    $('style-file').addEventListener('change', () => this.upload());
    for (const id of FIELDS) $(id).addEventListener('change', () => this.remember());
    region.changed = () => this.drawRegion();
  }

  remember() {
    if (!this.job) return;
    const values = Object.fromEntries(FIELDS.map(id => [id, $(id).value]));
    try { sessionStorage.setItem(`studio-form-${this.job.id}`, JSON.stringify({ ...values, typedSeed: this.typedSeed })); } catch { /* full */ }
  }

  begin(studio, job) {
    const { defaults } = studio;
    options($('level'), studio.levels.map(level => [level, level]));
    this.drawStyles(studio, job);
    let kept = {};
    try { kept = JSON.parse(sessionStorage.getItem(`studio-form-${job.id}`)) ?? {}; } catch { /* not ours */ }
    for (const id of FIELDS) {
      const value = kept[id] ?? defaults[id] ?? (id === 'count' ? 1 : '');
      $(id).value = value;
      if ($(id).tagName === 'SELECT' && $(id).selectedIndex < 0) $(id).selectedIndex = 0;
    }
    this.typedSeed = kept.typedSeed ?? false;
    $('region-take').dataset.heard = $('region-take').value = '';
  }

  follow(studio, job) {
    if (this.job?.id !== job.id) this.begin(studio, job);
    this.job = job;
    this.drawStyles(studio, job);
    if (!this.typedSeed && document.activeElement !== $('seed')) {
      const seeds = job.takes.filter(take => take.made === 'model').map(take => take.seed);
      $('seed').value = seeds.length ? Math.max(...seeds) + 1 : studio.defaults.seed;
    }
    const done = job.takes.filter(take => take.state === 'done' && take.made === 'model');
    const there = number => done.some(take => String(take.number) === number), newest = String(done.at(-1)?.number);
    const chosen = $('region-take').dataset.heard !== this.heard && there(this.heard) ? this.heard : there($('region-take').value) ? undefined : newest;
    $('region-take').dataset.heard = this.heard ?? '';
    options($('region-take'), done.map(take => [String(take.number), takeWords(take)]), chosen);
    show($('region-told'), job.takes.some(take => take.made === 'own music'));
    $('make').disabled = !job.beats || this.pending;
    this.drawRegion();
  }

  drawStyles(studio, job) {
    const sounds = job.sounds.filter(sound => sound.kind === 'style');
    options($('style'), [['', 'suits the dance'], ...studio.styles.map(style => [style, style]), ...sounds.map(sound => [`sound:${sound.number}`, sound.name]), [OWN, 'an audio file of my own …']]);
    this.drawStyle(sounds);
  }

  drawStyle(sounds = this.job?.sounds ?? []) {
    const value = $('style').value, sound = sounds.find(other => `sound:${other.number}` === value);
    show($('style-file-row'), value === OWN);
    const note = sound?.error ?? (value === OWN ? 'The music will sound like this file.' : sound ? `It will sound like ${sound.name}.` : '');
    show($('style-note'), note);
    write($('style-note'), note);
  }

  drawRegion() {
    const able = Boolean(this.region.range && $('region-take').value && this.job?.beats && !this.pending);
    $('redo-region').disabled = $('keep-region').disabled = !able;
  }

  async upload() {
    const file = $('style-file').files[0], { id } = this.job;
    if (!file) return;
    say(`Sending ${file.name} …`);
    try {
      const { number } = await upload(`/api/jobs/${id}/sounds?kind=style&name=${encodeURIComponent(file.name)}`, file, share => say(`Sending ${file.name}: ${Math.round(100 * share)} %`)).done;
      await refresh();
      $('style').value = `sound:${number}`;
      this.drawStyle();
      this.remember();
      say(`${file.name} is the style of the next take.`);
    } catch (error) {
      complain(error);
    }
    $('style-file').value = '';
  }

  // The settings as the server wants them, or null and a word to the person.
  settings() {
    const number = id => $(id).valueAsNumber, bad = text => { say(text, 'bad'); return null; };
    const style = $('style').value;
    if (style === OWN) return bad('Choose the audio file for the style first.');
    if (style && number('strictness') === 0) return bad('Strictness 0 leaves out the style: choose "suits the dance", or a strictness above 0.');
    if (!(number('strictness') >= 0 && number('strictness') <= 20)) return bad('Strictness is a number from 0 to 20.');
    if (!(number('seed') >= 0 && Number.isSafeInteger(number('seed')))) return bad('The seed is a whole number from 0 on.');
    if (!(number('loudness') >= -70 && number('loudness') <= 0)) return bad('Loudness is a number from -70 to 0.');
    if (!(number('count') >= 1 && Number.isInteger(number('count')))) return bad('The number of takes is a whole number from 1 on.');
    return {
      level: $('level').value, seed: number('seed'), strictness: number('strictness'), loudness: number('loudness'), count: number('count'),
      style: style.startsWith('sound:') ? { sound: Number(style.slice(6)) } : style,
    };
  }

  remake(what) {
    const { range } = this.region, from = $('region-take').value;
    if (!range) return say('Mark a region first: drag on the time line, or use the keys I and O.', 'bad');
    if (!from) return say('Make a take first.', 'bad');
    const { level } = this.job.takes.find(take => take.number === Number(from));
    this.make({ from: Number(from), level, count: 1, [what]: range, ...this.freshSeed() });
  }

  // A part that is made anew with a seed that a take has already might sound the same: then the next free seed is taken.
  freshSeed() {
    const seeds = this.job.takes.map(take => take.seed ?? 0), wanted = $('seed').valueAsNumber;
    return seeds.includes(wanted) ? { seed: Math.max(...seeds) + 1 } : {};
  }

  // Waits until the audio file for the style is read.
  async read(number) {
    const sound = () => this.job.sounds.find(other => other.number === number);
    while (number && ['waiting', 'running'].includes(sound()?.state)) {
      say(`${sound().name} is being read …`);
      await wait(300);
      await refresh();
    }
  }

  async make(extra) {
    const settings = this.settings();
    if (!settings || !this.job?.beats || this.pending) return;
    const { id } = this.job;
    this.pending = true;
    $('make').disabled = true;
    try {
      await this.read(settings.style.sound);
      await this.beats.save();
      const wanted = { from: null, ...settings, ...extra };
      const { numbers, seeds, same } = await post(`/api/jobs/${id}/takes`, wanted);
      const free = this.beats.list?.length ? '' : ' There are no beats: the music will have a rhythm of its own.';
      $('count').value = 1;
      this.remember();
      const range = list => `${list[0]}${list.length > 1 ? ` ${list.length > 2 ? 'to' : 'and'} ${list.at(-1)}` : ''}`, several = numbers.length > 1;
      const counted = same === null ? '' : ` with seed${several ? 's' : ''} ${range(seeds)}: with seed ${wanted.seed} it would be take ${same} again`;
      say(`Take${several ? 's' : ''} ${range(numbers)} ${several ? 'are' : 'is'} being made${counted}.${free}`);
    } catch (error) {
      complain(error);
    }
    this.pending = false;
    await refresh();
  }
}

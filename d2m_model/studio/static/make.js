// The form for new takes: style, strictness, seed, level, loudness, number; the whole dance, or a region of an earlier take.
import { $, complain, options, say, show, takeWords, write } from './dom.js';
import { answering, post, remove, upload } from './api.js';
import { untilRead, usable, why } from './sounds.js';
import { refresh, state } from './state.js';

const FIELDS = ['style', 'strictness', 'seed', 'level', 'loudness', 'count'], OWN = 'file', LARGEST = 2 ** 31;
// Number fields: their range, whether only whole numbers will do, and what to say of others.
const RANGES = {
  strictness: [0, 20, false, 'Strictness is a number from 0 to 20.'],
  seed: [0, Number.MAX_SAFE_INTEGER, true, `The seed is a whole number from 0 to ${Number.MAX_SAFE_INTEGER}.`],
  loudness: [-70, 0, false, 'Loudness is a number from -70 to 0.'],
  count: [1, 20, true, 'The number of takes is a whole number from 1 to 20.'],
};

export class MakeForm {
  constructor(beats, region) {
    Object.assign(this, { beats, region, job: null, typedSeed: false, pending: false, earlier: '' });
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
    $('style').addEventListener('change', () => this.chosen());
    $('style-file').addEventListener('change', () => this.upload());
    for (const id of FIELDS) $(id).addEventListener('change', () => this.remember());
    for (const id of Object.keys(RANGES)) $(id).addEventListener('change', () => this.checked(id));
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
    this.chosen();
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

  // earlier: what was chosen before a file, which may turn out to be unreadable.
  chosen() {
    const value = $('style').value;
    if (value !== OWN) this.earlier = value;
    this.drawStyle();
  }

  drawStyles(studio, job) {
    const sounds = job.sounds.filter(sound => sound.kind === 'style' && usable(sound));
    options($('style'), [['', 'suits the dance'], ...studio.styles.map(style => [style, style]), ...sounds.map(sound => [`sound:${sound.number}`, sound.name]), [OWN, 'an audio file of my own …']]);
    this.drawStyle(sounds);
  }

  drawStyle(sounds = this.job?.sounds ?? []) {
    const value = $('style').value, sound = sounds.find(other => `sound:${other.number}` === value);
    show($('style-file-row'), value === OWN);
    const note = !sound ? '' : sound.state === 'done' ? `It will sound like ${sound.name}.` : `${sound.name} is not read yet.`;
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
      if (state.id === id) await this.take(id, number, file.name);
    } catch (error) {
      complain(error);
    }
    $('style-file').value = '';
  }

  // Makes a file that was sent the style. One that can't be read is refused: it is no style, and the earlier one stays.
  async take(id, number, name) {
    const sound = () => state.job?.id === id ? state.job.sounds.find(other => other.number === number) : undefined, value = `sound:${number}`, { earlier } = this;
    const choose = style => {
      $('style').value = style;
      if ($('style').selectedIndex < 0) $('style').selectedIndex = 0;
      this.chosen();
      this.remember();
    };
    choose(value);
    await untilRead(`${name} is`, () => [sound()].filter(Boolean), () => state.id !== id);
    const found = sound();
    if (!found) return;
    if (usable(found)) return $('style').value === value ? say(`${name} is the style of the next take.`) : undefined;
    if (['', OWN, value].includes($('style').value)) choose(earlier);
    say(`${name} is no style: ${why(found)}. The style is: ${$('style').selectedOptions[0].textContent}.`, 'bad');
    await remove(`/api/jobs/${id}/sounds/${number}`);
    await refresh();
  }

  // The number in a field, or null and a word to the person.
  checked(id) {
    const value = $(id).valueAsNumber, [low, high, whole, words] = RANGES[id], good = value >= low && value <= high && (!whole || Number.isInteger(value));
    $(id).setAttribute('aria-invalid', !good);
    if (!good) say(words, 'bad');
    return good ? value : null;
  }

  // The settings as the server wants them, or null and a word to the person.
  settings() {
    const bad = text => { say(text, 'bad'); return null; };
    const style = $('style').value, numbers = {};
    for (const id of Object.keys(RANGES)) if ((numbers[id] = this.checked(id)) === null) return null;
    if (style === OWN) return bad('Choose the audio file for the style first.');
    if (style && numbers.strictness === 0) return bad('Strictness 0 leaves out the style: choose "suits the dance", or a strictness above 0.');
    return {
      level: $('level').value, ...numbers,
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

  // Waits until the audio file for the style is read. Raises an Error if it can't be.
  async read(number, left) {
    const sounds = () => this.job.sounds.filter(other => other.number === number), [sound] = sounds();
    if (!sound) return;
    await untilRead(`${sound.name} is`, sounds, left);
    if (left()) throw new Error('You left the dance: no music was made.');
    if (!sounds().some(usable)) throw new Error(`No music was made: ${sound.name}, the style, can't be read.`);
  }

  async make(extra) {
    const settings = this.settings();
    if (!settings || !this.job?.beats || this.pending) return;
    const { id } = this.job, left = () => state.id !== id;
    this.pending = true;
    $('make').disabled = true;
    try {
      await answering('The music will be asked for', left);
      await this.read(settings.style.sound, left);
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

// The tools that change beats: buttons and what the keys do.
import { $, capital, complain, counted, options, say, seconds, write } from './dom.js';
import { round } from './history.js';
import { FPS } from './player.js';
import { Taps } from './taps.js';

const NEAR = 0.03, STEP = 0.01, APART = 0.02, LATE = 2000, SLOWEST = 20, FASTEST = 400;

export class Editor {
  constructor(beats, player, timeline) {
    Object.assign(this, { beats, player, timeline, chosen: null, taps: new Taps(beats), tapped: -Infinity });
    beats.addEventListener('change', event => this.changed(event.detail));
    beats.addEventListener('saved', event => this.told(event.detail));
    beats.addEventListener('refused', event => complain(event.detail));
    timeline.addEventListener('add', event => this.add(event.detail.time));
    timeline.addEventListener('select', event => this.select(event.detail.index, true));
    timeline.addEventListener('dragging', event => write($('beat-told'), seconds(event.detail.time, 3)));
    timeline.addEventListener('moved', event => this.move(event.detail.index, event.detail.time, 'moved beat'));
    player.addEventListener('state', () => { if (!player.playing) this.taps.end(); });
    this.wire();
  }

  wire() {
    const on = (id, act) => $(id).addEventListener('click', act);
    on('undo', () => this.undo());
    on('redo', () => this.redo());
    on('beat-add', () => this.add());
    $('tap').addEventListener('pointerdown', event => { if (event.button === 0) this.tap(false, event.timeStamp); });
    on('tap', event => { if (event.detail === 0) this.tap(false, event.timeStamp); });
    on('beat-before', () => this.next(-1));
    on('beat-after', () => this.next(1));
    on('beat-earlier', () => this.nudge(-STEP));
    on('beat-later', () => this.nudge(STEP));
    on('beat-down', () => this.toggleDown());
    on('beat-delete', () => this.remove());
    on('beats-halve', () => this.change('halved', { operation: 'halve' }, 'doubled'));
    on('beats-double', () => this.change('doubled', { operation: 'double' }, 'halved'));
    on('beats-shift', () => this.shift());
    $('shift-by').addEventListener('keydown', event => { if (event.key === 'Enter') this.shift(); });
    on('beats-tempo', () => this.setTempo());
    $('tempo').addEventListener('keydown', event => { if (event.key === 'Enter') this.setTempo(); });
    on('beats-snap', () => this.snap());
    on('beats-reset', () => this.change('back to what was found', { operation: 'reset' }));
  }

  get list() { return this.beats.ready ? this.beats.list : []; }
  get index() { return this.chosen === null ? -1 : this.list.findIndex(beat => beat.time === this.chosen); }
  get beat() { return this.list[this.index] ?? null; }

  changed({ label, elsewhere }) {
    if (this.chosen !== null && this.index < 0) this.chosen = null;
    this.player.setBeats(this.beats.shown);
    this.draw();
    if (elsewhere) say(`The beats were changed in another window. ${counted(this.list.length, 'beat')}.`);
    else if (label) say(`${capital(label)}. ${counted(this.list.length, 'beat')}.`);
  }

  draw() {
    const { beats, beat } = this, ready = beats.ready;
    this.timeline.setBeats(this.beats.shown, this.index);
    const { undoable, redoable } = beats.history;
    $('undo').disabled = !ready || !undoable;
    $('redo').disabled = !ready || !redoable;
    $('undo').title = undoable ? `undo: ${undoable.label}` : '';
    $('redo').title = redoable ? `do again: ${redoable.label}` : '';
    for (const id of ['beat-earlier', 'beat-later', 'beat-down', 'beat-delete']) $(id).disabled = !beat;
    for (const id of ['beat-add', 'tap', 'beat-before', 'beat-after', 'beats-halve', 'beats-double', 'beats-shift', 'beats-tempo', 'beats-reset']) $(id).disabled = !ready;
    $('beats-snap').disabled = !ready || !this.snaps;
    $('beat-down').setAttribute('aria-pressed', Boolean(beat?.down));
    write($('beat-told'), beat ? `${this.describe()}` : 'no beat selected');
    write($('saved'), !ready ? '' : beats.unsaved ? 'saving …' : undoable ? 'saved' : '');
    this.drawTempo(ready);
    write($('beats-found'), ready ? `${counted(this.list.length, 'beat')}${this.tempo ? `, ${Math.round(this.tempo)} a minute` : ''}` : '');
  }

  // The field follows the tempo, except while the person types.
  drawTempo(ready) {
    const now = ready && this.tempo ? String(Math.round(10 * this.tempo) / 10) : '';
    if ($('tempo').dataset.now === now || document.activeElement === $('tempo')) return;
    $('tempo').dataset.now = $('tempo').value = now;
  }

  describe() {
    const { beat } = this;
    return `${beat.down ? 'down-beat' : 'beat'} ${this.index + 1} of ${this.list.length}, ${seconds(beat.time, 3)}`;
  }

  told(beats) {
    this.tempo = beats.tempo;
    this.draw();
  }

  sources(pairs) {
    this.snaps = pairs.length > 0;
    options($('snap-to'), pairs);
  }

  // pointed: with a click on it, which also goes there, like a click beside it. A loop, in which beats are heard and corrected, goes on.
  select(index, pointed = false) {
    const beat = this.list[index];
    if (!beat) return;
    this.chosen = beat.time;
    if (!this.player.playing || (pointed && !this.player.loop)) this.player.seek(beat.time);
    this.draw();
    say(`Selected ${this.describe()}.`);
  }

  // Selects the beat before or after the selected one, or the play head.
  next(step) {
    if (!this.list.length) return say('There are no beats.');
    let index = this.index + step;
    const fromHead = this.index < 0 || this.player.playing;
    if (fromHead) {
      const place = this.player.position();
      index = step > 0 ? this.list.findIndex(beat => beat.time > place + 1e-4) : this.list.findLastIndex(beat => beat.time < place - 1e-4);
      if (index < 0 && step > 0) index = this.list.length;
    }
    if (index < 0 || index >= this.list.length) return say(fromHead ? `There is no beat ${step > 0 ? 'after' : 'before'} the play head.` : step > 0 ? 'This is the last beat.' : 'This is the first beat.');
    this.select(index);
  }

  add(time = this.player.position()) {
    if (!this.beats.ready) return say('The beats are not there yet.');
    const near = this.list.findIndex(beat => Math.abs(beat.time - time) < NEAR);
    if (near >= 0) return this.select(near);
    time = round(Math.min(time, this.beats.seconds - 1e-3));
    this.chosen = time;
    this.beats.edit('added beat', [...this.list, { time, down: false }]);
  }

  remove() {
    const { beat, index } = this;
    if (!beat) return say('Select a beat first: comma and full stop.');
    const rest = this.list.filter(other => other !== beat);
    this.chosen = rest[Math.min(index, rest.length - 1)]?.time ?? null;
    this.beats.edit('deleted beat', rest);
  }

  move(index, time, label, merge = '') {
    const beat = this.list[index];
    if (!beat) return;
    const low = Math.max(0, (this.list[index - 1]?.time ?? -1) + APART), high = Math.min(this.beats.seconds - 1e-3, (this.list[index + 1]?.time ?? Infinity) - APART);
    time = round(Math.max(Math.min(low, beat.time), Math.min(time, Math.max(high, beat.time)))); // a beat does not pass its neighbours
    this.chosen = time;
    const done = this.beats.edit(label, this.list.map(other => other === beat ? { ...beat, time } : other), merge);
    if (!done) this.draw();
    return done;
  }

  nudge(by) {
    if (!this.beat) return say('Select a beat first: comma and full stop.');
    const done = this.move(this.index, this.beat.time + by, 'nudged beat', 'nudge');
    if (!this.player.playing && this.beat) this.player.seek(this.beat.time);
    if (this.beat) say(done ? `Nudged ${this.describe()}.` : `${capital(this.describe())}: there is no room.`);
  }
  nudgeFrame(direction) { this.nudge(direction / FPS); }

  toggleDown() {
    const { beat } = this;
    if (!beat) return say('Select a beat first: comma and full stop.');
    this.beats.edit(beat.down ? 'made an ordinary beat' : 'made a down-beat', this.list.map(other => other === beat ? { ...beat, down: !beat.down } : other));
  }

  tap(down, at) {
    if (!this.beats.ready) return;
    if (!this.player.playing) {
      const late = this.player.ended && at - this.tapped < LATE; // tapping on, which must not go on over the first beats
      if (late) this.tapped = at;
      if (late) return say('The dance has ended. After a pause, a tap plays it again.');
      this.player.play();
      return say('It plays: tap on each beat.');
    }
    this.tapped = at;
    this.taps.tap(this.player.position(at), down);
  }

  undo() { if (this.beats.ready && !this.beats.undo()) say('There is nothing to undo.'); }
  redo() { if (this.beats.ready && !this.beats.redo()) say('There is nothing to do again.'); }

  shift() {
    const by = $('shift-by').valueAsNumber;
    if (!Number.isFinite(by) || !by || Math.abs(by) > 60) return say('Type by how many seconds, at most 60; a minus sign means earlier.', 'bad');
    this.change(`shifted by ${by} s`, { operation: 'shift', seconds: by });
  }

  setTempo() {
    const bpm = $('tempo').valueAsNumber;
    if (!(bpm >= SLOWEST && bpm <= FASTEST)) return say(`A tempo is ${SLOWEST} to ${FASTEST} beats a minute.`, 'bad');
    if (this.list.length < 2) return say('There must be two beats or more to set their tempo.', 'bad');
    this.change(`tempo set to ${bpm} a minute, all beats stretched alike`, { operation: 'tempo', bpm });
  }

  snap() {
    const choice = $('snap-to'), to = choice.value;
    this.change(`snapped to ${choice.selectedOptions[0].textContent}`, { operation: 'snap', to: /^\d+$/.test(to) ? Number(to) : to });
  }

  async change(label, operation, inverse) {
    if (!this.beats.ready || this.changing) return;
    this.changing = true;
    try {
      const done = await this.beats.change(label, operation, inverse);
      if (!done) say(done === null ? 'You edited a beat meanwhile: your edit is kept, the change is not.' : `The beats stay as they are${operation.operation === 'snap' ? ': each has a place to snap to already, or none within 0.12 s' : ''}.`);
    } catch (error) {
      complain(error);
    }
    this.changing = false;
  }
}

// The beats as the person edits them: undo and redo without end, saved to the server after each edit.
import { insist, post, put } from './api.js';
import { keep, recall } from './history.js';

const PAUSE = 300, SAME = 1e-3;
export const round = time => Math.round(time * 1000) / 1000;
const sorted = beats => [...beats].sort((a, b) => a.time - b.time).filter((beat, k, all) => !k || beat.time > all[k - 1].time);
const equal = (a, b, far = 0) => a.length === b.length && a.every((beat, k) => Math.abs(beat.time - b[k].time) <= far && beat.down === b[k].down);
const sent = beats => ({ beats: beats.map(beat => beat.time), downbeats: beats.filter(beat => beat.down).map(beat => beat.time) });

function received({ beats, downbeats }) {
  const down = time => downbeats.some(other => Math.abs(other - time) < 1e-6);
  return beats.map(time => ({ time, down: down(time) }));
}

// What takes the old beats to the new ones: {label, removed, added}.
function difference(label, old, now) {
  const key = beat => `${beat.time} ${beat.down}`, before = new Set(old.map(key)), after = new Set(now.map(key));
  return { label, removed: old.filter(beat => !after.has(key(beat))), added: now.filter(beat => !before.has(key(beat))) };
}
function apply(beats, removed, added) {
  const gone = new Set(removed.map(beat => beat.time));
  return sorted([...beats.filter(beat => !gone.has(beat.time)), ...added]);
}

export class Beats extends EventTarget {
  constructor() {
    super();
    this.forget();
  }

  forget() {
    clearTimeout(this.timer);
    Object.assign(this, { job: null, list: null, seconds: 0, done: [], undone: [], unsaved: false, saving: null, version: 0, mergeable: '', mergedAt: 0, announced: false, away: false, recalling: false });
  }

  // The job is left: what is unsaved is sent once more, without waiting for it.
  leave() {
    const { job, list, done, undone } = this;
    if (this.unsaved && list) put(`/api/jobs/${job}/beats`, sent(list)).then(() => keep(job, { list, done, undone, unsaved: false })).catch(() => {});
    this.forget();
    this.tell();
  }

  // Other beats are found: those of now, and the way back to them, are let go.
  renew() {
    Object.assign(this, { list: null, done: [], undone: [], mergeable: '', announced: false, away: true });
    this.version++;
    this.store();
    this.tell();
  }

  // away: the server has no beats now, because it finds them again.
  get ready() { return this.list !== null && !this.away; }
  tell(label = '') { this.dispatchEvent(new CustomEvent('change', { detail: { label } })); }

  // Takes the beats that the server tells. version: this.version when the server was asked; later edits win.
  async adopt(job, told, version) {
    if (this.job !== job) {
      this.forget();
      this.job = job;
      this.recalling = true;
      const known = await recall(job);
      if (this.job !== job) return;
      this.recalling = false;
      if (known) Object.assign(this, { list: known.list, done: known.done, undone: known.undone, unsaved: known.unsaved });
      version = this.version;
    }
    if (this.recalling) return;
    this.seconds = told.seconds;
    const list = received(told);
    if (this.unsaved || this.saving) {
      if (!this.saving) this.save();
    } else if (this.list === null) {
      if (version !== this.version) return; // asked before the beats were let go
      this.list = list;
    } else if (version !== this.version || equal(list, this.list)) {
      if (this.announced) return;
    } else if (equal(list, this.list, SAME)) {
      this.list = list;
    } else {
      this.done.push(difference('beats found again, or changed elsewhere', this.list, list));
      this.undone = [];
      this.list = list;
      this.store();
    }
    this.announced = true;
    this.tell();
  }

  // Replaces all beats. Edits with the same merge word that follow quickly, or the taps of one go, are undone together.
  edit(label, beats, merge = '', within = 1500) {
    const now = sorted(beats.filter(beat => beat.time >= 0 && beat.time < this.seconds));
    if (equal(now, this.list)) return false;
    let old = this.list;
    if (merge && merge === this.mergeable && this.done.length && performance.now() - this.mergedAt < within) {
      const last = this.done.pop();
      old = apply(old, last.added, last.removed);
    }
    this.mergeable = merge;
    this.mergedAt = performance.now();
    this.done.push(difference(label, old, now));
    this.undone = [];
    this.put(now, label);
    return true;
  }

  undo() { return this.travel(this.done, this.undone, 'added', 'removed', 'Undone'); }
  redo() { return this.travel(this.undone, this.done, 'removed', 'added', 'Done again'); }

  travel(from, to, out, back, word) {
    const step = from.pop();
    if (!step) return '';
    to.push(step);
    this.mergeable = '';
    this.put(apply(this.list, step[out], step[back]), `${word}: ${step.label}`);
    return step.label;
  }

  put(list, label) {
    this.list = list;
    this.version++;
    this.unsaved = true;
    this.store();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), PAUSE);
    this.tell(label);
  }

  store() {
    keep(this.job, { list: this.list, done: this.done, undone: this.undone, unsaved: this.unsaved });
  }

  // Saves until the server has it. The promise ends when nothing is unsaved.
  save() {
    clearTimeout(this.timer);
    this.saving ??= this.send().finally(() => { this.saving = null; });
    return this.saving;
  }

  async send() {
    const job = this.job;
    while (this.unsaved && this.job === job) {
      const version = this.version;
      try {
        const { beats } = await insist(() => put(`/api/jobs/${job}/beats`, sent(this.list)), () => this.job !== job);
        if (this.job !== job) return;
        this.unsaved = this.version !== version;
        if (!this.unsaved) this.dispatchEvent(new CustomEvent('saved', { detail: beats }));
      } catch (error) {
        if (this.job !== job) return;
        this.unsaved = false;
        this.dispatchEvent(new CustomEvent('refused', { detail: error }));
        throw error;
      } finally {
        if (this.job === job) this.store();
      }
      this.tell();
    }
  }

  // An operation of the server on all beats (halve, double, shift, snap, reset); it can be undone like any edit.
  async change(label, operation) {
    await this.save();
    const version = ++this.version, job = this.job;
    const { beats } = await insist(() => post(`/api/jobs/${job}/beats/change`, { ...operation, ...sent(this.list) }));
    if (job !== this.job || version !== this.version) return null; // an edit in between wins, and is sent next
    const list = received(beats), step = difference(label, this.list, list);
    this.version++;
    if (!step.removed.length && !step.added.length) return false;
    this.mergeable = '';
    this.done.push(step);
    this.undone = [];
    this.list = list;
    this.store();
    this.dispatchEvent(new CustomEvent('saved', { detail: beats }));
    this.tell(label);
    return true;
  }
}

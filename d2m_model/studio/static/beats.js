// The beats as the person edits them: undo and redo without end, saved to the server with the beats after each edit.
import { answering, get, insist, post, put } from './api.js';
import { History, sorted } from './history.js';
import { forget, keep, recall } from './unsaved.js';

const PAUSE = 300, SAME = 1e-3, CONFLICT = 409, TROUBLE = 500;
const equal = (a, b, far = 0) => a.length === b.length && a.every((beat, k) => Math.abs(beat.time - b[k].time) <= far && beat.down === b[k].down);
const sent = beats => ({ beats: beats.map(beat => beat.time), downbeats: beats.filter(beat => beat.down).map(beat => beat.time) });

function received({ beats, downbeats }) {
  const down = time => downbeats.some(other => Math.abs(other - time) < 1e-6);
  return beats.map(time => ({ time, down: down(time) }));
}

export class Beats extends EventTarget {
  constructor() {
    super();
    this.forget();
  }

  forget() {
    clearTimeout(this.timer);
    Object.assign(this, { job: null, list: null, seconds: 0, history: new History(), unsaved: false, saving: null, version: 0, mergeable: '', mergedAt: 0, announced: false, away: false, kept: false, invented: null, asking: false, operating: false });
  }

  // The job is left: what is unsaved is sent once more, after the save that is under way, without waiting for it.
  leave() {
    const { job, list, history, saving } = this, rest = () => put(`/api/jobs/${job}/beats`, { ...sent(list), history: history.unsent()[0] });
    if (this.unsaved && list) Promise.resolve(saving).catch(() => {}).then(rest).then(() => forget(job)).catch(() => {});
    this.forget();
    this.tell();
  }

  // Other beats are found: the current ones are removed until they are here.
  renew() {
    Object.assign(this, { list: null, history: new History(), mergeable: '', announced: false, away: true, kept: false, invented: null });
    this.version++;
    this.tell();
  }

  // away: the server has no beats now, because it finds them again.
  get ready() { return this.list !== null && !this.away; }
  // Also while they can't be edited: those that were brought back are known before the server has followed their dancer again.
  get shown() { return this.ready || this.kept ? this.list : []; }
  get areInvented() { return this.invented !== null && equal(this.list, this.invented, SAME); }
  // Whether the server has beats now.
  set there(now) {
    if (now && this.away) this.kept = false;
    this.away = !now;
  }
  tell(label = '', elsewhere = false) { this.dispatchEvent(new CustomEvent('change', { detail: { label, elsewhere } })); }

  // Takes the beats that the server tells. version: this.version when the server was asked; later edits win.
  async adopt(job, told, version) {
    if (this.job !== job) {
      this.forget();
      this.job = job;
      this.asking = true;
      const known = await recall(job); // edits that a page made while the server was away
      if (this.job !== job) return;
      this.asking = false;
      if (known) Object.assign(this, { list: known.list, history: new History(known.history), unsaved: true });
      version = this.version;
    }
    if (this.asking || this.operating) return;
    this.seconds = told.seconds;
    const list = received(told);
    if (told.invented) this.invented = list;
    if (this.unsaved || this.saving) {
      if (!this.saving) this.save().catch(() => {});
    } else if (version !== this.version) {
      if (this.announced || this.list === null) return; // asked before an edit, or before the beats were let go
    } else if (this.list === null || !equal(list, this.list, SAME)) {
      return this.ask(job); // the first time, found again, or edited in another window
    } else if (equal(list, this.list)) {
      if (this.announced) return;
    } else this.list = list; // as the server rounds them
    this.announced = true;
    this.tell();
  }

  // Gets the beats with their edits from the server.
  async ask(job) {
    const { version } = this;
    this.asking = true;
    try {
      const told = await get(`/api/jobs/${job}/history`);
      if (this.job !== job || version !== this.version) return;
      const again = this.list !== null;
      this.history = History.told(told);
      this.list = received(told);
      this.kept = false;
      this.mergeable = '';
      this.announced = true;
      this.tell('', again);
    } catch { /* it is asked again after the next answer */ } finally {
      if (this.job === job) this.asking = false;
    }
  }

  // Replaces all beats. Edits with the same merge word that follow quickly, or the taps of one go, are undone together.
  edit(label, beats, merge = '', within = 1500) {
    const now = sorted(beats.filter(beat => beat.time >= 0 && beat.time < this.seconds));
    if (equal(now, this.list)) return false;
    const together = merge !== '' && merge === this.mergeable && performance.now() - this.mergedAt < within;
    this.mergeable = merge;
    this.mergedAt = performance.now();
    this.history.add(label, this.list, now, together);
    this.put(now, label);
    return true;
  }

  undo() { return this.travel(this.history.undo(this.list), 'Undone'); }
  redo() { return this.travel(this.history.redo(this.list), 'Done again'); }

  travel(found, word) {
    if (!found) return '';
    const [list, { label, dancers }] = found;
    this.mergeable = '';
    this.put(list, `${word}: ${label}`, Boolean(dancers));
    return label;
  }

  put(list, label, kept = false) {
    this.list = list;
    this.kept = kept;
    this.version++;
    this.unsaved = true;
    this.store();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save().catch(() => {}), PAUSE);
    this.tell(label);
  }

  store() {
    if (this.unsaved) keep(this.job, { list: this.list, history: this.history.stored });
    else forget(this.job);
  }

  // Saves until the server has it. The promise ends when nothing is unsaved.
  save() {
    clearTimeout(this.timer);
    if (this.saving) return this.saving;
    const saving = this.send().finally(() => { if (this.saving === saving) this.saving = null; });
    return this.saving = saving;
  }

  async send() {
    const job = this.job;
    while (this.unsaved && this.job === job) {
      let version, settle;
      const attempt = () => {
        const [edits, done] = this.history.unsent();
        [version, settle] = [this.version, done];
        return put(`/api/jobs/${job}/beats`, { ...sent(this.list), history: edits });
      };
      try {
        const { beats, history } = await insist(attempt, () => this.job !== job);
        settle(history);
        if (this.job !== job) return;
        this.unsaved = this.version !== version;
        if (!this.unsaved) this.dispatchEvent(new CustomEvent('saved', { detail: beats }));
      } catch (error) {
        if (this.job !== job) return;
        if (error.status === CONFLICT) {
          await this.join(job); // fails while beats are being found; what is unsaved is sent when they are there
          continue;
        }
        if (!(error.status >= TROUBLE)) this.unsaved = false; // what a full disk refuses is kept, and sent again
        this.dispatchEvent(new CustomEvent('refused', { detail: error }));
        throw error;
      } finally {
        if (this.job === job) this.store();
      }
      this.tell();
    }
  }

  // Another window saved meanwhile: what was done here becomes one step after what was done there, with the dancer of these beats.
  async join(job) {
    const told = await insist(() => get(`/api/jobs/${job}/history`), () => this.job !== job);
    if (this.job !== job) return;
    const label = this.history.undoable?.label ?? 'edited', theirs = received(told), dancer = this.history.dancer ?? told.dancer, back = dancer !== told.dancer;
    this.history = History.told(told);
    this.mergeable = '';
    if (equal(theirs, this.list) && !back) this.unsaved = false;
    else this.history.add(back ? `dancer ${dancer + 1} followed` : label, theirs, this.list, false, dancer);
    this.kept = back;
    this.tell(back ? `another window followed dancer ${told.dancer + 1} meanwhile: dancer ${dancer + 1} is followed again, Undo takes that back` : '');
  }

  // An operation of the server on all beats (halve, double, shift, snap, reset); it can be undone like any edit. inverse: the label of
  // the edit that it takes back, if that was the newest one: doubling brings back the beats that halving left out.
  async change(label, operation, inverse = null) {
    if (inverse && this.history.undoable?.label === inverse) return this.edit(label, this.history.before(this.list));
    const { job } = this;
    await answering('The beats will be changed', () => this.job !== job);
    await this.save();
    const version = ++this.version;
    this.operating = true;
    const { beats } = await insist(() => post(`/api/jobs/${job}/beats/change`, { ...operation, ...sent(this.list) })).finally(() => { if (this.job === job) this.operating = false; });
    if (job !== this.job || version !== this.version) return null; // an edit in between wins, and is sent next
    if (!this.edit(label, received(beats))) return false;
    this.dispatchEvent(new CustomEvent('saved', { detail: beats }));
    return true;
  }
}

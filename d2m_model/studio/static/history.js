// The edits of the beats as steps that can be undone and done again. The server keeps them with the job; `kept` of them it has already.
export const round = time => Math.round(time * 1000) / 1000;
export const sorted = beats => [...beats].sort((a, b) => a.time - b.time).filter((beat, k, all) => !k || beat.time > all[k - 1].time);
const paired = beats => beats.map(({ time, down }) => [time, down]), unpaired = pairs => pairs.map(([time, down]) => ({ time, down }));

// What takes the old beats to the new ones: {label, removed, added, dancers}. dancers: [the one before, the one after] where it changes the
// dancer who is followed.
function difference(label, old, now, dancers) {
  const key = beat => `${beat.time} ${beat.down}`, before = new Set(old.map(key)), after = new Set(now.map(key));
  return { label, removed: old.filter(beat => !after.has(key(beat))), added: now.filter(beat => !before.has(key(beat))), dancers };
}
function apply(beats, removed, added) {
  const gone = new Set(removed.map(beat => beat.time));
  return sorted([...beats.filter(beat => !gone.has(beat.time)), ...added]);
}

export class History {
  // values: what `stored` gave. dancer: the one whose beats these are; null where it is unknown.
  constructor(values = {}) {
    Object.assign(this, { steps: [], at: 0, kept: 0, version: 0, dancer: null }, values);
  }

  // As the server tells it.
  static told({ steps, at, version, dancer }) {
    return new History({ steps: steps.map(step => ({ ...step, removed: unpaired(step.removed), added: unpaired(step.added) })), at, version, dancer, kept: steps.length });
  }

  get stored() { return { steps: this.steps, at: this.at, kept: this.kept, version: this.version, dancer: this.dancer }; }
  get undoable() { return this.steps[this.at - 1] ?? null; }
  get redoable() { return this.steps[this.at] ?? null; }

  // merge: the newest step becomes a part of this one. dancer: who is followed from now on.
  add(label, old, now, merge = false, dancer = this.dancer) {
    if (merge && this.undoable) {
      const last = this.steps[--this.at];
      old = apply(old, last.added, last.removed);
    }
    this.steps.length = this.at;
    this.kept = Math.min(this.kept, this.at);
    this.changedFrom = Math.min(this.changedFrom ?? this.at, this.at);
    this.steps.push(difference(label, old, now, dancer === this.dancer ? null : [this.dancer, dancer]));
    this.dancer = dancer;
    this.at++;
  }

  // The beats before the newest step.
  before(beats) { return apply(beats, this.undoable.added, this.undoable.removed); }

  // [the beats after, the step] or null.
  undo(beats) {
    const step = this.undoable;
    if (step) this.at--;
    this.dancer = step?.dancers?.[0] ?? this.dancer;
    return step && [apply(beats, step.added, step.removed), step];
  }

  redo(beats) {
    const step = this.redoable;
    if (step) this.at++;
    this.dancer = step?.dancers?.[1] ?? this.dancer;
    return step && [apply(beats, step.removed, step.added), step];
  }

  // What the server has not got, and what to call with its answer.
  unsent() {
    const { version, kept, at, steps } = this;
    this.changedFrom = steps.length;
    const edits = { version, kept, at, steps: steps.slice(kept).map(step => ({ ...step, removed: paired(step.removed), added: paired(step.added) })) };
    return [edits, told => {
      const dropped = at - told.at; // a long history lost its oldest steps
      this.steps.splice(0, dropped);
      this.at = Math.max(0, this.at - dropped);
      this.kept = Math.max(0, this.changedFrom - dropped);
      this.version = told.version;
    }];
  }
}

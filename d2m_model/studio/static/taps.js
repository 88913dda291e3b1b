// Tapping along: the taps of one go replace the beats in the stretch from the first to the last of them; over beats that were invented,
// because nobody was found, they replace all.
import { round } from './history.js';

const PAUSE = 4, MARGIN = 0.12;

export class Taps {
  constructor(beats) {
    Object.assign(this, { beats, goes: 0, times: [], base: null, last: -Infinity });
  }

  end() { this.base = null; }

  // A tap at a place of the dance. A jump back (a loop), a long pause or an edit in between begins a new go.
  tap(time, down) {
    const fresh = !this.base || time < this.last || time - this.last > PAUSE || this.beats.list !== this.made;
    if (fresh) {
      this.goes++;
      this.times = [];
      this.base = this.beats.areInvented ? [] : this.beats.list;
      this.label = this.beats.areInvented ? 'tapped beats in place of the invented ones' : 'tapped beats';
    }
    this.times.push({ time: round(time), down });
    this.last = time;
    this.beats.edit(this.label, this.replaced(), `tap ${this.goes}`, 1000 * PAUSE);
    this.made = this.beats.list;
    return this.times.length;
  }

  // A beat tapped anew stays a down-beat if it was one.
  replaced() {
    const first = this.times[0].time - MARGIN, last = this.times.at(-1).time + MARGIN;
    const old = this.base.filter(beat => beat.time >= first && beat.time <= last);
    const taps = this.times.map(tap => ({ ...tap }));
    for (const beat of old.filter(other => other.down)) {
      const nearest = taps.reduce((best, tap) => Math.abs(tap.time - beat.time) < Math.abs(best.time - beat.time) ? tap : best);
      if (Math.abs(nearest.time - beat.time) <= 2 * MARGIN) nearest.down = true;
    }
    return [...this.base.filter(beat => !old.includes(beat)), ...taps];
  }
}

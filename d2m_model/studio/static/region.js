// The marked region: fields, buttons, loop; and making it, or the rest, anew.
import { $, say } from './dom.js';
import { round } from './beats.js';

const SHORTEST = 0.1;

export class Region {
  constructor(player, timeline) {
    Object.assign(this, { player, timeline, range: null, changed: () => {} });
    timeline.addEventListener('region', event => this.set(event.detail.region, event.detail.done, false));
    $('region-start').addEventListener('click', () => this.start());
    $('region-end').addEventListener('click', () => this.end());
    $('region-clear').addEventListener('click', () => this.clear());
    $('loop').addEventListener('change', () => this.loop());
    for (const id of ['region-from', 'region-to']) $(id).addEventListener('change', () => this.typed());
  }

  set(range, done = true, draw = true) {
    this.range = range ? [round(Math.max(0, range[0])), round(Math.min(range[1], this.player.seconds))] : null;
    for (const [id, value] of [['region-from', this.range?.[0]], ['region-to', this.range?.[1]]]) $(id).value = value ?? '';
    if (draw) this.timeline.setRegion(this.range);
    if (done) {
      this.loop();
      say(this.range ? `Region from ${this.range[0].toFixed(2)} to ${this.range[1].toFixed(2)} s.` : 'No region.');
    }
    this.changed();
  }

  reset() {
    this.range = null;
    $('region-from').value = $('region-to').value = '';
    this.timeline.setRegion(null);
    this.loop();
    this.changed();
  }

  clear() { this.set(null); }

  start(place = this.player.position()) {
    const end = this.range?.[1] ?? this.player.seconds;
    this.set([place, end - place > SHORTEST ? end : this.player.seconds]);
  }

  end(place = this.player.position()) {
    const start = this.range?.[0] ?? 0;
    if (place < SHORTEST) return say('The region would be empty.', 'bad');
    this.set([place - start > SHORTEST ? start : 0, place]);
  }

  typed() {
    const from = $('region-from').valueAsNumber, to = $('region-to').valueAsNumber;
    if (Number.isFinite(from) && Number.isFinite(to)) {
      if (to - from >= SHORTEST && from >= 0 && to <= this.player.seconds + 1e-3) this.set([from, to]);
      else say(`The region must lie between 0 and ${this.player.seconds.toFixed(2)} s, its end after its start.`, 'bad');
    }
  }

  // Without a region the loop is the whole dance.
  loop() {
    this.player.setLoop($('loop').checked ? this.range ?? [0, this.player.seconds] : null);
  }
}

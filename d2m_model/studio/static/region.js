// The marked region: fields, buttons, loop; and making it, or the rest, anew.
import { $, say } from './dom.js';
import { round } from './history.js';

const SHORTEST = 0.1 - 1e-6; // of 0.1 s, as computers count

export class Region {
  constructor(player, timeline) {
    Object.assign(this, { player, timeline, range: null, changed: () => {} });
    timeline.addEventListener('region', event => this.set(event.detail.region, event.detail.done, false));
    $('region-start').addEventListener('click', () => this.start());
    $('region-end').addEventListener('click', () => this.end());
    $('region-clear').addEventListener('click', () => this.clear());
    $('loop').addEventListener('change', () => {
      this.loop();
      say(!$('loop').checked ? 'Loop off.' : this.range ? 'Loop on: the region.' : 'Loop on: the whole dance.');
    });
    for (const id of ['region-from', 'region-to']) $(id).addEventListener('change', () => this.typed());
  }

  set(range, done = true, draw = true) {
    const end = range && this.player.seconds - range[1] < 1e-3 ? this.player.seconds : range && round(range[1]); // the end exactly, or its last samples would stay
    this.range = range ? [round(Math.max(0, range[0])), end] : null;
    for (const [id, value] of [['region-from', this.range?.[0]], ['region-to', this.range?.[1]]]) $(id).value = value ?? '';
    this.mark(true);
    if (draw) this.timeline.setRegion(this.range);
    if (done) {
      this.loop();
      say(this.range ? `Region from ${this.range[0].toFixed(2)} to ${this.range[1].toFixed(2)} s.` : 'No region.');
    }
    this.changed();
  }

  reset() {
    $('region-from').value = $('region-to').value = '';
    this.drop();
  }

  // No region from now on; the fields keep what was typed.
  drop() {
    this.range = null;
    this.mark(true);
    this.timeline.setRegion(null);
    this.loop();
    this.changed();
  }

  mark(valid) { for (const id of ['region-from', 'region-to']) $(id).setAttribute('aria-invalid', !valid); }

  clear() { this.set(null); }

  start(place = this.player.position()) {
    if (this.player.seconds - place < SHORTEST) return say('Less than 0.1 s is left: the region would be too short.', 'bad');
    const end = this.range?.[1] ?? this.player.seconds;
    this.set([place, end - place >= SHORTEST ? end : this.player.seconds]);
  }

  end(place = this.player.position()) {
    const start = this.range?.[0] ?? 0;
    if (place < SHORTEST) return say('A region is at least 0.1 s long.', 'bad');
    this.set([place - start >= SHORTEST ? start : 0, place]);
  }

  typed() {
    const from = $('region-from').valueAsNumber, to = $('region-to').valueAsNumber;
    const whole = Number.isFinite(from) && Number.isFinite(to), { seconds } = this.player;
    if (whole && to - from >= SHORTEST && from >= 0 && to <= seconds + 0.01) return this.set([from, to]);
    this.drop();
    if (!whole) return say('No region yet: it needs a start and an end.');
    this.mark(false);
    const why = from < 0 || to > seconds ? `it must lie between 0 and ${seconds.toFixed(2)} s` : to <= from ? 'its end must come after its start' : 'it must be at least 0.1 s long';
    say(`No region: ${why}.`, 'bad');
  }

  // Without a region the loop is the whole dance.
  loop() {
    this.player.setLoop($('loop').checked ? this.range ?? [0, this.player.seconds] : null);
  }
}

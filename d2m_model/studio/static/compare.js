// What is heard: A and B, at the same place and loudness. Also loads the waveform of the one that is heard.
import { $, complain, options, say, takeWords } from './dom.js';
import { get, insist } from './api.js';

const NONE = 'none', ORIGINAL = 'original';
const base = job => `/api/jobs/${job}`;

export class Compare {
  constructor(player, sound, timeline) {
    Object.assign(this, { player, sound, timeline, job: null, picks: { a: NONE, b: NONE }, side: 'a', known: new Set(), chosen: false, shown: '', peaks: new Map(), quiet: false });
    for (const side of ['a', 'b']) {
      $(`hear-${side}`).addEventListener('click', () => this.hear(side));
      $(`pick-${side}`).addEventListener('change', event => this.choose(side, event.target.value, true));
    }
  }

  // The job is left: what is still being loaded is not shown any more.
  leave() { Object.assign(this, { job: null, shown: '' }); }

  get heard() { return this.picks[this.side]; }
  other(side = this.side) { return side === 'a' ? 'b' : 'a'; }
  name(pick) { return pick === ORIGINAL ? "the video's audio" : pick === NONE ? 'no audio' : this.takeName(pick); }

  takeName(pick) {
    const name = this.job?.takes.find(take => String(take.number) === pick)?.name;
    return `take ${pick}${name ? `, ${name}` : ''}`;
  }

  // Follows the job: what can be heard, and the new takes.
  follow(job) {
    if (this.job?.id !== job.id) Object.assign(this, { picks: { a: NONE, b: NONE }, side: 'a', known: new Set(), chosen: false, shown: '', first: true });
    this.job = job;
    if (!job.video) return this.draw([[NONE, 'no audio']]);
    const done = job.takes.filter(take => take.state === 'done').map(take => String(take.number));
    const pairs = [...(job.video.sound ? [[ORIGINAL, "the video's audio"]] : []), ...job.takes.filter(take => take.state === 'done').map(take => [String(take.number), `take ${takeWords(take)}`])];
    const fresh = done.filter(number => !this.known.has(number));
    this.known = new Set(done);
    const there = pick => pairs.some(([value]) => value === pick);
    for (const side of ['a', 'b']) {
      if (there(this.picks[side]) || this.picks[side] === NONE) continue;
      this.picks[side] = NONE;
      this.chosen = false;
    }
    if (this.first) {
      this.first = false;
      this.picks.a = done.at(-1) ?? (job.video.sound ? ORIGINAL : NONE);
      this.picks.b = done.at(-2) ?? (job.video.sound ? ORIGINAL : NONE);
      if (this.picks.b === this.picks.a && pairs.length < 2) this.picks.b = NONE;
    } else if (fresh.length) this.arrived(fresh.at(-1));
    else if (this.heard === NONE && pairs.length) this.picks[this.side] = done.at(-1) ?? ORIGINAL;
    this.draw(pairs.length ? pairs : [[NONE, 'no audio']]);
    this.load();
  }

  // A new take goes to the side that is not heard; if nothing plays, it is heard next. A pair that the person chose stays.
  arrived(number) {
    if (this.chosen) {
      if (!this.quiet) say(`Take ${number} is ready, under Takes. A and B stay as you chose them.`);
      return;
    }
    const quiet = [NONE, ORIGINAL].includes(this.heard) && !this.player.playing;
    const side = quiet ? this.side : this.other();
    if (quiet && this.heard === ORIGINAL) this.picks[this.other()] = ORIGINAL;
    this.picks[side] = number;
    if (!this.player.playing) this.side = side;
    if (!this.quiet) say(`Take ${number} is ready: ${side.toUpperCase()}.`);
  }

  draw(pairs) {
    for (const side of ['a', 'b']) {
      const all = this.picks[side] === NONE && pairs[0][0] !== NONE ? [[NONE, 'no audio'], ...pairs] : pairs;
      options($(`pick-${side}`), all, this.picks[side]);
      $(`hear-${side}`).setAttribute('aria-pressed', this.side === side);
      $(`hear-${side}`).setAttribute('aria-label', `hear ${side.toUpperCase()}: ${this.name(this.picks[side])}`);
    }
    this.pairs = pairs;
  }

  // By the person, for comparing.
  choose(side, value, hear = false) {
    this.chosen = true;
    this.pick(side, value, hear);
  }

  pick(side, value, hear = false) {
    this.picks[side] = value;
    if (hear) this.side = side;
    this.draw(this.pairs);
    this.load();
    say(`${side.toUpperCase()} is ${this.name(value)}.`);
  }

  hear(side) {
    this.side = side;
    this.draw(this.pairs);
    this.load();
    say(`You hear ${side.toUpperCase()}: ${this.name(this.heard)}.`);
  }
  swap() { this.hear(this.other()); }

  load() {
    const key = JSON.stringify([this.job.id, this.picks, this.side]);
    if (key === this.shown) return;
    this.shown = key;
    this.loadSound(key).catch(error => { if (this.shown === key) { this.shown = ''; complain(error); } });
    this.loadPeaks(key).catch(error => { if (this.shown === key) complain(error); });
  }

  decoded(pick) {
    const lufs = (pick === ORIGINAL ? this.job.video : this.job.takes.find(take => String(take.number) === pick))?.lufs ?? null;
    return pick === NONE ? null : this.sound.load(`${base(this.job.id)}/sound/${pick}`, this.job.video.seconds, lufs);
  }

  // Both are decoded; the louder one is turned down to the other.
  async loadSound(key) {
    const mine = await this.decoded(this.heard);
    if (this.shown !== key) return;
    const play = others => {
      const target = Math.min(mine?.lufs ?? Infinity, others?.lufs ?? Infinity);
      const gain = mine?.lufs != null && Number.isFinite(target) ? 10 ** ((target - mine.lufs) / 20) : 1;
      const track = this.player.track;
      if (track && mine && track.buffer === mine.buffer && Math.abs(track.gain - gain) < 1e-3) return;
      this.player.hear(mine ? { buffer: mine.buffer, gain } : null);
    };
    const rest = this.picks[this.other()];
    const others = rest === this.heard ? null : this.decoded(rest);
    if (!this.player.playing || !mine) play(null);
    const second = await Promise.resolve(others).catch(() => null);
    if (this.shown === key) play(second);
  }

  async loadPeaks(key) {
    const pick = this.heard, { id, video } = this.job, address = `${base(id)}/peaks/${pick}`;
    if (pick === NONE) return this.timeline.load(null, video.seconds);
    if (this.timeline.seconds !== video.seconds) await this.timeline.load(null, video.seconds);
    if (!this.peaks.has(address)) this.peaks.set(address, (await insist(() => get(address), () => this.shown !== key)).peaks);
    if (this.shown === key) await this.timeline.load(this.peaks.get(address), video.seconds);
  }
}

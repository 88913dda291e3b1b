// Plays picture and sound together. After a start or a jump the sound begins with the first frame that is seen there. From then on the
// clock of the sound leads; the picture follows by its rate, or by a seek when it is far off.
import { say } from './dom.js';

export const FPS = 30;
const LEAD = 0.03, AHEAD = 0.15, FAR = 0.2, GAIN = 6, MOST = 0.5, AGAIN = 600, DRAWN = 21, PATIENCE = 600, NEAR = 0.25;
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

export class Player extends EventTarget {
  constructor(pictures, sound) {
    super();
    Object.assign(this, { pictures, sound, seconds: 0, place: 0, playing: false, loop: null, track: null, beats: [], clicking: false });
    Object.assign(this, { frame: 0, drift: null, smooth: 0, held: null, seekLag: 0.03, startLag: 0.015, seekAt: 0, fresh: '', turned: false, clicked: 0, last: 0, audio: false, still: 0.009, draws: [] });
    pictures.addEventListener('frame', ({ detail: { time, at } }) => this.seen(Math.round(time * FPS), time, at));
    pictures.addEventListener('loadeddata', () => (this.playing ? this.chase() : this.picture()));
    pictures.addEventListener('seeked', () => this.onSeeked());
    requestAnimationFrame(() => this.tick());
  }

  get video() { return this.pictures.shown; }

  tell(type) { this.dispatchEvent(new Event(type)); }

  reset(seconds) {
    this.pause();
    Object.assign(this, { seconds, place: 0, loop: null, track: null, drift: null, held: null });
    this.pictures.prepare(null);
    this.tell('place');
  }

  // The clock in seconds: of what is heard, or the computer's while there is nothing to hear.
  now(at = performance.now()) { return this.audio ? this.sound.heard(at) : at / 1000; }

  wrap(place) {
    if (!this.loop || place < this.loop[1]) return Math.min(place, this.seconds);
    return this.loop[0] + (place - this.loop[0]) % (this.loop[1] - this.loop[0]);
  }

  // Place in the dance, in seconds, that is heard at a time of performance.now().
  position(at) {
    if (!this.playing) return this.place;
    if (this.held !== null) return this.held;
    return this.wrap(this.from + Math.max(0, this.now(at) - this.when));
  }

  async play() {
    if (this.playing || !this.seconds) return;
    this.audio = (this.track || this.clicking) ? await this.sound.wake() : false;
    if (this.track && !this.audio) say('The audio device does not answer: the picture plays alone.', 'bad');
    if (this.playing) return;
    const end = this.loop ? this.loop[1] : this.seconds;
    if (this.place >= end - 0.5 / FPS || this.place < (this.loop?.[0] ?? 0)) this.place = this.loop?.[0] ?? 0;
    this.playing = true;
    this.picture();
    this.hold(this.place);
    this.video.play().catch(() => {});
    this.tell('state');
  }

  // The dance stands at a place until its picture is seen there; the sound waits for it.
  hold(place) {
    if (this.loop && (place < this.loop[0] || place >= this.loop[1])) place = this.loop[0];
    this.held = this.last = place;
    this.settle();
    this.sound.stop();
    this.sound.dropClicks();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.release(this.held, performance.now()), PATIENCE); // a picture that does not come
  }

  // Goes on from a place that is seen at a time of performance.now().
  release(place, at) {
    clearTimeout(this.waiting);
    if (this.held === null || !this.playing) return;
    this.held = null;
    this.from = this.last = place;
    this.when = this.now(at);
    this.hear(this.track);
    this.recount();
  }

  pause() {
    if (!this.playing) return;
    this.place = this.position();
    this.playing = false;
    this.held = null;
    this.settle();
    this.sound.stop();
    this.sound.dropClicks();
    this.video.pause();
    this.video.playbackRate = 1;
    this.picture();
    this.tell('state');
    this.tell('place');
  }

  get ended() { return !this.playing && this.place >= this.seconds - 0.5 / FPS; }

  toggle() { return this.playing ? this.pause() : this.play(); }

  // Starts counting anew from a place, and the sound there.
  anchor(place) {
    if (this.loop && (place < this.loop[0] || place >= this.loop[1])) place = this.loop[0];
    this.from = this.last = place;
    this.when = this.audio ? this.sound.context.currentTime + LEAD : performance.now() / 1000;
    this.settle();
    if (this.audio && this.track) this.sound.start(this.track.buffer, this.track.gain, this.when, place, this.loop);
    this.recount();
  }

  // What was measured, and a turn that was begun, no longer count.
  settle() {
    Object.assign(this, { smooth: 0, fresh: '', turned: false });
    this.pictures.prepare();
  }

  recount() {
    this.sound.dropClicks();
    this.clicked = this.audio ? this.sound.context.currentTime : 0;
  }

  seek(place) {
    this.place = clamp(place, 0, this.seconds);
    if (this.playing) {
      this.hold(this.place);
      this.chase();
    } else this.picture();
    this.tell('place');
  }

  // Steps by frames, and stops.
  step(frames) {
    this.pause();
    const frame = Math.floor(this.place * FPS + 1e-4);
    this.seek(clamp((frame + frames) / FPS, 0, Math.max(0, (Math.round(this.seconds * FPS) - 1) / FPS)));
  }

  setLoop(loop) {
    const place = this.position();
    if (this.playing) this.place = place;
    this.loop = loop && loop[1] - loop[0] > 0.05 ? loop : null;
    this.pictures.prepare(this.loop?.[0] ?? null);
    if (!this.playing) return;
    if (!this.loop || (place >= this.loop[0] && place < this.loop[1])) return this.held === null ? this.anchor(place) : undefined;
    this.hold(place);
    this.chase();
  }

  // Changes what is heard: {buffer, gain} or null. The place stays, and there is no gap.
  async hear(track) {
    this.track = track;
    if (!this.playing || this.held !== null) return;
    if (!track) return this.sound.stop();
    if (!this.audio) {
      const awake = await this.sound.wake();
      if (!awake || !this.playing || this.track !== track) return;
      const place = this.position();
      this.audio = true;
      return this.anchor(place);
    }
    const when = this.sound.context.currentTime + LEAD;
    this.sound.start(track.buffer, track.gain, when, this.wrap(this.from + Math.max(0, when - this.when)), this.loop);
  }

  async setClicking(on) {
    this.clicking = on;
    if (this.playing && on && !this.audio && await this.sound.wake() && this.playing) {
      const place = this.position();
      this.audio = true;
      if (this.held === null) this.anchor(place);
    }
    this.recount();
  }

  setBeats(beats) {
    this.beats = beats;
    if (this.playing) this.recount();
  }

  // While it stands, the picture shows exactly the frame of the play head.
  picture() {
    const frame = clamp(Math.floor(this.place * FPS + 1e-4), 0, Math.max(0, Math.round(this.seconds * FPS) - 1));
    this.wanted = (frame + 0.5) / FPS;
    if (!this.video.seeking && this.video.readyState > 0 && Math.abs(this.video.currentTime - this.wanted) > 1e-3) this.video.currentTime = this.wanted;
  }

  onSeeked() {
    if (this.playing && this.missed) this.chase();
    this.missed = false;
    if (!this.playing && Math.abs(this.video.currentTime - this.wanted) > 1e-3) this.video.currentTime = this.wanted;
  }

  // Puts a picture that is far off to where the sound will be when the seek is done.
  chase() {
    this.missed = this.video.seeking;
    if (this.missed) return;
    this.seekAt = performance.now();
    this.fresh = 'seekLag';
    this.video.playbackRate = 1;
    const place = this.held === null ? this.wrap(this.position() + this.seekLag) : this.held + 0.5 / FPS;
    this.video.currentTime = clamp(place, 0, this.seconds);
  }

  // A frame is seen: which, its time in the dance, and when by performance.now().
  seen(frame, time, at) {
    if (this.pictures.exact || frame !== this.frame) {
      this.frame = frame;
      this.tell('frame');
    }
    if (!this.playing || this.video.seeking) return;
    if (this.held !== null) return this.arrived(time, at);
    if (this.now(at) < this.when) return;
    let drift = time - this.position(at);
    if (this.loop) {
      const length = this.loop[1] - this.loop[0];
      if (Math.abs(drift) > length / 2 && time < this.loop[1] + FAR) drift -= Math.sign(drift) * length; // one beyond the loop missed its end
    }
    this.drift = drift;
    if (this.fresh === 'startLag' && time < this.loop[0] + 2 / FPS) return; // its first frames do not tell yet
    if (this.fresh && Math.abs(drift) < 1 && Math.abs(drift) > this.still) this[this.fresh] = clamp(this[this.fresh] - 0.5 * drift, 0, 0.5);
    this.smooth = this.fresh ? drift : this.smooth + 0.4 * (drift - this.smooth);
    this.fresh = '';
    this.follow();
  }

  // A frame is seen while the sound waits. The first one after a jump may stand for a moment: the sound begins with the second.
  arrived(time, at) {
    if (Math.abs(time - this.held) > NEAR || this.video.paused) return;
    if (this.fresh) this.seekLag = clamp((at - this.seekAt) / 1000, 0, 0.5);
    this.fresh = '';
    if (this.moving === this.held && time > this.movedTo) {
      this.moving = null;
      return this.release(time, at);
    }
    Object.assign(this, { moving: this.held, movedTo: time });
  }

  follow() {
    if (Math.abs(this.smooth) > FAR && performance.now() - this.seekAt > AGAIN) return this.chase();
    const rate = Math.abs(this.smooth) < this.still ? 1 : 1 - clamp(GAIN * this.smooth, -MOST, MOST);
    if (Math.abs(rate - this.video.playbackRate) > 0.004) this.video.playbackRate = rate;
  }

  // A frame can only be drawn when the screen is: differences below half of that time can't be mended, and are left alone.
  measure(now) {
    this.draws.push(now);
    if (this.draws.length < DRAWN) return;
    const gaps = this.draws.splice(0).map((time, k, all) => time - all[k - 1]).slice(1).sort((a, b) => a - b);
    this.still = clamp(gaps[gaps.length >> 1] / 2000 + 3e-4, 0.004, 0.017);
  }

  tick(now = performance.now()) {
    requestAnimationFrame(time => this.tick(time));
    this.measure(now);
    if (!this.pictures.exact) this.seen(Math.floor(this.video.currentTime * FPS + 1e-4), this.video.currentTime, performance.now());
    if (!this.playing) return;
    if (this.audio && this.sound.context.state !== 'running') {
      say('The audio device stopped. Press play again.', 'bad');
      return this.pause();
    }
    const place = this.position();
    if (!this.loop && place >= this.seconds - 1e-3) {
      this.place = this.seconds;
      this.playing = false;
      this.sound.dropClicks();
      this.video.pause();
      this.picture();
      this.tell('state');
      return this.tell('place');
    }
    if (this.loop && this.held === null) this.turn(place);
    if (this.video.paused && !this.turned && place < this.seconds - 2 / FPS) this.video.play().catch(() => {});
    this.last = place;
    if (this.clicking && this.audio && this.held === null) this.scheduleClicks();
    this.tell('place');
  }

  // At a loop's end the picture that waits on its first frame is shown; if it is not ready, as in a very short loop, the shown one is
  // seeked. What changes now is seen an interval of the screen later: one and a half before the end is the nearest to it.
  turn(place) {
    const half = (this.loop[1] - this.loop[0]) / 2, over = place < this.last - half, left = over ? 0 : this.loop[1] - place;
    if (!over && !this.turned && left < this.startLag + 3 * this.still) this.pictures.start(1000 * (left - this.startLag));
    if (!this.turned && left < 3 * this.still && this.pictures.swap()) {
      this.turned = true;
      this.fresh = over ? '' : 'startLag';
      this.frame = Math.floor(this.video.currentTime * FPS + 1e-4);
      this.tell('frame');
    }
    if (over && !this.turned) {
      this.pictures.prepare(); // it may have been started and, on a page that stood still, not shown in time
      this.chase();
    }
    if (place < this.loop[1] - half) this.turned = false;
  }

  // Clicks are given to the sound device a little ahead, so that they are exact.
  scheduleClicks() {
    const now = this.sound.context.currentTime, until = now + AHEAD, since = Math.max(this.clicked, now);
    const round = this.loop ? this.loop[1] - this.loop[0] : 0;
    for (const { time, down } of this.beats) {
      if (this.loop && (time < this.loop[0] || time >= this.loop[1])) continue;
      let when = this.when + time - this.from;
      if (round && when < since) when += Math.ceil((since - when) / round) * round;
      if (when >= since && when < until && (round || time >= this.from)) this.sound.click(when, down);
    }
    this.clicked = until;
  }
}

// The picture: two <video> elements of one preview, one above the other. One is shown. A loop uses the other one, too: it waits on the
// loop's first frame and starts unseen, and at the loop's end the two change places. A seek there would come 0.1 s late.
const RETRY = 1500, NEAR = 0.25;

export class Pictures extends EventTarget {
  constructor(shown, ahead) {
    super();
    Object.assign(this, { shown, ahead, place: null });
    this.exact = 'requestVideoFrameCallback' in shown; // older browsers: the picture's time is read as often as the screen is drawn
    for (const video of [shown, ahead]) {
      if (this.exact) this.watch(video);
      video.addEventListener('error', () => this.retry(video));
      for (const type of ['loadedmetadata', 'loadeddata', 'seeked']) video.addEventListener(type, () => this.changed(video, type));
    }
  }

  // Each frame of the shown picture: its time in the dance, and when it is seen by performance.now().
  watch(video) {
    video.requestVideoFrameCallback((now, { mediaTime, expectedDisplayTime }) => {
      this.watch(video);
      if (video === this.shown) this.dispatchEvent(new CustomEvent('frame', { detail: { time: mediaTime, at: expectedDisplayTime || now } }));
    });
  }

  changed(video, type) {
    if (video === this.shown) this.dispatchEvent(new Event(type));
    else this.stand();
  }

  // A picture that broke off, because the server went away, is asked for again.
  retry(video) {
    setTimeout(() => { if (video.error && video.getAttribute('src')) video.load(); }, RETRY);
  }

  show(on) { this.shown.hidden = this.ahead.hidden = !on; }

  // Shows the preview of this address, or none.
  load(address) {
    this.source(this.shown, address);
    this.prepare();
  }

  source(video, address) {
    if (video.getAttribute('src') === address) return;
    if (address) video.src = address;
    else {
      video.removeAttribute('src');
      video.load();
    }
  }

  // The other picture waits at a place, in seconds, from now on; null: it is not needed, and its memory is given back.
  prepare(place = this.place) {
    clearTimeout(this.starting);
    this.place = place;
    this.source(this.ahead, place === null ? null : this.shown.getAttribute('src'));
    this.rest();
  }

  rest() {
    this.ahead.pause();
    this.ahead.playbackRate = 1;
    this.stand();
  }

  // Whether the other picture stands at its place.
  get ready() {
    const { ahead, place } = this;
    return place !== null && ahead.paused && ahead.readyState > 1 && !ahead.seeking && Math.abs(ahead.currentTime - place) < 1e-3;
  }

  stand() {
    const { ahead, place } = this;
    if (place !== null && ahead.paused && ahead.readyState > 0 && !ahead.seeking && !this.ready) ahead.currentTime = place;
  }

  // Starts the other picture after some milliseconds, whether it is shown by then or not.
  start(after) {
    const { ahead } = this;
    clearTimeout(this.starting);
    if (this.ready) this.starting = setTimeout(() => ahead.play().catch(() => {}), after);
  }

  // Shows the other picture if it is ready or has just started, and says whether it did.
  swap() {
    const { ahead, place } = this, started = place !== null && !ahead.paused && Math.abs(ahead.currentTime - place) < NEAR;
    if (!this.ready && !started) return false;
    [this.shown, this.ahead] = [this.ahead, this.shown];
    for (const video of [this.shown, this.ahead]) {
      video.classList.toggle('shown', video === this.shown);
      video.setAttribute('aria-hidden', video !== this.shown);
    }
    this.rest();
    return true;
  }
}

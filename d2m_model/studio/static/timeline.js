// The one time line: waveform, ticks, beats as markers and the marked region (wavesurfer draws; it plays nothing).
import WaveSurfer from './vendor/wavesurfer/wavesurfer.esm.js';
import RegionsPlugin from './vendor/wavesurfer/plugins/regions.esm.js';
import TimelinePlugin from './vendor/wavesurfer/plugins/timeline.esm.js';
import { $, make, seconds as inSeconds, show } from './dom.js';
import { passTouches } from './touch.js';
import { drawWave } from './wave.js';

const HEIGHT = 104, RULER = 24, MOST_ZOOM = 800, RATE = 100, SHORTEST = 0.1 - 1e-6, APART = 0.02, OURS = ['beat', 'marked'];
// Widths in pixels in which a beat can be taken: at most (and half the gap to its neighbours), and below which there is no room for it, or it is not even drawn.
const COARSE = matchMedia('(pointer: coarse)').matches, HIT = COARSE ? 32 : 12, ROOM = 3, SEEN = 1.5, CLOSE = 64;
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Timeline extends EventTarget {
  constructor(container) {
    super();
    Object.assign(this, { seconds: 0, zoom: 0, markers: [], marked: null, beats: [], selected: -1, dragging: false, ready: false });
    this.regions = RegionsPlugin.create();
    this.regions.virtualAppend = (region, container, element) => container.append(element); // all of them: cheaper than to ask each on each scroll
    this.ticks = TimelinePlugin.create({ height: RULER, secondaryLabelOpacity: 1, style: { fontSize: '12px' }, formatTimeCallback: time => `${Math.round(100 * time) / 100}` });
    this.wave = WaveSurfer.create({
      container, height: HEIGHT, interact: false, cursorWidth: 2, autoScroll: true, normalize: false, renderFunction: drawWave, ...this.colours(),
      plugins: [this.regions, this.ticks],
    });
    this.wave.on('ready', () => { this.ready = true; this.drawBeats(); this.drawRegion(); this.tell('ready'); });
    this.regions.enableDragSelection({ color: colour('--region') });
    this.regions.on('region-initialized', region => { if (!OURS.includes(region.id)) this.draw(region); });
    this.regions.on('region-created', region => this.onCreated(region));
    this.regions.on('region-updated', region => this.onUpdated(region));
    this.regions.on('region-update', (region, side) => {
      if (region !== this.marked) return;
      this.follow(region, side);
      this.tell('region', { region: [region.start, region.end], done: false });
    });
    const wrapper = this.wave.getWrapper();
    wrapper.addEventListener('pointerdown', event => {
      this.pressed = { x: event.clientX, time: this.timeAt(event.clientX), start: this.marked?.start, end: this.marked?.end };
    });
    addEventListener('pointermove', event => { this.pointer = event.clientX; }, true);
    wrapper.addEventListener('click', event => {
      const marker = event.pointerType === 'touch' && this.markerAt(event);
      if (marker) this.tell('select', { index: marker.index });
      else this.tell('seek', { time: this.timeOf(event) });
    });
    passTouches(wrapper, event => this.markerAt(event), marker => marker.index === this.selected);
    wrapper.addEventListener('dblclick', event => this.tell('add', { time: this.timeOf(event) }));
    this.wave.on('resize', () => this.rule());
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.recolour());
  }

  tell(type, detail = {}) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  colours() {
    return { waveColor: colour('--wave'), progressColor: colour('--played'), cursorColor: colour('--ink') };
  }

  recolour() {
    this.wave.setOptions(this.colours());
    this.markers.splice(0).forEach(marker => marker.remove());
    this.drawBeats();
    this.drawRegion();
  }

  timeOf(event) { return this.inside(this.timeAt(event.clientX)); }

  // The time at a place of the window, also before and after the dance.
  timeAt(x) {
    const box = this.wave.getWrapper().getBoundingClientRect();
    return (x - box.left) / box.width * this.seconds;
  }

  inside(time) { return Math.max(0, Math.min(this.seconds, time)); }

  // For fingers: the marker under an event, also where beats are too close to be touched themselves.
  markerAt(event) {
    if (event.clientY > this.wave.getWrapper().getBoundingClientRect().bottom - RULER) return undefined; // a region is drawn from the numbers
    if (!this.close) return this.markers.find(marker => marker.element.contains(event.target));
    const time = this.timeOf(event), width = this.wave.getWrapper().clientWidth / this.seconds;
    return this.markers.find(marker => Math.abs(marker.start - time) * width <= Math.min(HIT, marker.gap * width / 2) / 2);
  }

  // Ticks as dense as their numbers have room.
  rule() {
    const dense = this.zoom || this.wave.getWidth() / this.seconds || 1, room = [0.1, 0.5, 1, 5, 10, 30, 60].find(step => step * dense >= 44) ?? 300;
    Object.assign(this.ticks.options, { timeInterval: room / 5, primaryLabelInterval: room, secondaryLabelInterval: room });
    this.makeRoom();
  }

  // Beats can be taken with the pointer where there is room between them; closer ones after zooming in.
  makeRoom() {
    const dense = this.zoom || this.wave.getWidth() / this.seconds || 1, gaps = this.beats.slice(1).map((beat, k) => beat.time - this.beats[k].time).sort((a, b) => a - b);
    const room = 0.6 * dense * (gaps[gaps.length >> 1] ?? 1), { style } = this.wave.getWrapper();
    style.setProperty('--dense', `${dense}px`);
    style.touchAction = this.zoom ? 'pan-x pan-y' : 'pan-y'; // unzoomed, a finger draws the region
    this.close = COARSE && room >= ROOM && room < 0.6 * CLOSE;
    style.setProperty('--grab', room < ROOM || this.close ? 'none' : 'auto');
    style.setProperty('--line', room < SEEN ? 'hidden' : 'visible');
    show($('wave-note'), room < SEEN);
  }

  // Shows a waveform, 100 values a second; null draws a flat line.
  async load(peaks, seconds) {
    const length = Math.max(2, Math.round(seconds * RATE)), drawn = new Float32Array(length);
    if (peaks) drawn.set(peaks.slice(0, length));
    if (seconds !== this.seconds) this.clear();
    this.seconds = seconds;
    this.ready = false;
    this.blank(false);
    this.rule();
    await this.wave.load('', [drawn], seconds);
    this.place(this.shown ?? 0);
  }

  // Shows nothing, until a dance is loaded.
  blank(on) { $('wave').classList.toggle('blank', on); }

  clear() {
    this.markers.splice(0).forEach(marker => marker.remove());
    this.marked?.remove();
    this.marked = null;
    this.zoom = 0;
    this.shown = 0;
  }

  place(time, playing = false) {
    this.shown = time;
    if (this.seconds) this.wave.getRenderer().renderProgress(Math.min(1, time / this.seconds), playing);
  }

  // Zooms by a factor around the play head; 0 shows all.
  zoomBy(factor) {
    if (!this.ready) return;
    const width = this.wave.getWidth(), all = width / this.seconds;
    const now = factor === 0 ? 0 : Math.min(MOST_ZOOM, Math.max(all, this.zoom || all) * factor);
    this.zoom = now <= all ? 0 : now;
    this.rule();
    this.wave.zoom(this.zoom);
    if (this.zoom) this.wave.setScroll(Math.max(0, (this.shown ?? 0) * this.zoom - width / 2));
  }

  // --- beats
  setBeats(beats, selected) {
    this.beats = beats;
    this.selected = selected;
    if (this.ready && !this.dragging) this.drawBeats();
  }

  marker(time) {
    const line = make('span', { part: 'beat-line' }), handle = make('span');
    const marker = this.regions.addRegion({ start: time, drag: true, resize: false, color: 'transparent', id: 'beat' });
    // A region is drawn from the ruler's numbers, also where there is a beat.
    Object.assign(handle.style, { position: 'absolute', top: '0', bottom: `${RULER}px`, width: 'var(--hit)', left: 'calc(-1px - var(--hit) / 2)', pointerEvents: 'var(--grab)' });
    Object.assign(line.style, { position: 'absolute', top: '0', bottom: `${RULER}px`, left: '-2px', pointerEvents: 'none' }); // above the ruler's numbers
    marker.element.append(line, handle);
    marker.element.style.pointerEvents = 'none';
    marker.line = line;
    marker.element.style.zIndex = 4;
    marker.element.style.setProperty('--hit', `min(${HIT}px, var(--gap) * var(--dense) / 2)`);
    marker.on('click', event => {
      event.stopPropagation();
      this.tell('select', { index: marker.index });
    });
    marker.on('dblclick', event => event.stopPropagation());
    marker.on('update', () => { this.grab(marker); this.between(marker); this.tell('dragging', { index: marker.index, time: marker.start }); });
    marker.on('update-end', () => {
      this.dragging = false;
      marker.over = 0;
      this.tell('moved', { index: marker.index, time: marker.start });
      this.drawBeats();
    });
    return marker;
  }

  // What is dragged looks selected at once.
  grab(marker) {
    if (this.dragging) return;
    this.dragging = true;
    this.selected = marker.index;
    this.dressAll();
  }

  // A dragged beat stays between its neighbours; what the pointer moves further is remembered, so that the beat stays under it.
  between(marker) {
    const wanted = marker.start + (marker.over ?? 0), { index } = marker, own = this.beats[index]?.time ?? wanted;
    const low = Math.min(own, (this.beats[index - 1]?.time ?? -APART) + APART), high = Math.max(own, (this.beats[index + 1]?.time ?? this.seconds + APART) - APART);
    marker.start = marker.end = Math.max(low, Math.min(high, wanted));
    marker.over = wanted - marker.start;
    marker.renderPosition();
  }

  drawBeats() {
    this.makeRoom();
    while (this.markers.length > this.beats.length) this.markers.pop().remove();
    this.beats.forEach(({ time, down }, index) => {
      const marker = this.markers[index] ??= this.marker(time);
      if (marker.start !== time) marker.setOptions({ start: time });
      const gap = Math.min(time - (this.beats[index - 1]?.time ?? -1), (this.beats[index + 1]?.time ?? time + 1) - time);
      if (marker.gap !== gap) marker.element.style.setProperty('--gap', marker.gap = gap);
    });
    this.dressAll();
  }

  dressAll() {
    this.beats.forEach(({ time, down }, index) => {
      const marker = this.markers[index], key = `${index} ${time} ${down} ${index === this.selected}`;
      if (marker.key === key) return;
      marker.index = index;
      marker.key = key;
      this.dress(marker, time, down, index === this.selected);
    });
  }

  dress(marker, time, down, selected) {
    const { element, line } = marker, tint = colour(down ? '--downbeat' : '--beat');
    element.dataset.beat = marker.index;
    element.dataset.time = time.toFixed(3);
    element.dataset.down = down;
    element.dataset.selected = selected;
    element.style.touchAction = selected ? 'pan-y' : 'auto'; // a finger moves the selected beat only
    element.title = `${down ? 'down-beat' : 'beat'} ${marker.index + 1}, ${inSeconds(time, 3)}`;
    element.setAttribute('role', 'img');
    element.setAttribute('aria-label', element.title);
    Object.assign(line.style, {
      width: down ? '3px' : '2px', background: selected ? colour('--picked') : tint, top: down ? '0' : '22%',
      outline: selected ? `2px solid ${colour('--picked')}` : 'none', boxShadow: '0 0 0 1px var(--card)', borderRadius: '2px', visibility: selected ? 'visible' : 'var(--line)',
    });
    line.textContent = '';
    if (down) {
      const flag = make('span');
      Object.assign(flag.style, { position: 'absolute', left: '0', top: '0', borderTop: `9px solid ${tint}`, borderRight: '9px solid transparent' });
      line.append(flag);
    }
  }

  // --- the marked region
  setRegion(region) {
    this.wantedRegion = region;
    if (this.ready) this.drawRegion();
  }

  drawRegion() {
    const region = this.wantedRegion;
    if (!region) {
      this.marked?.remove();
      this.marked = null;
    } else if (!this.marked) this.regions.addRegion({ start: region[0], end: region[1], color: colour('--region'), drag: true, resize: true, minLength: SHORTEST, id: 'marked' });
    else {
      if (this.marked.start !== region[0] || this.marked.end !== region[1]) this.marked.setOptions({ start: region[0], end: region[1] });
      this.marked.setOptions({ color: colour('--region') });
    }
  }

  // The ends of a region are where the pointer was pressed and is now. The plugin adds up movements instead: it begins 5 px wide, and
  // forgets what goes beyond the start, the shortest length or the ends of the dance.
  draw(region) {
    const follow = () => {
      const ends = [this.pressed.time, this.timeAt(this.pointer)].map(time => this.inside(time)).sort((a, b) => a - b);
      [region.start, region.end] = ends;
      region.renderPosition();
    };
    region.end = region.start;
    region.on('update', () => { if (region !== this.marked) follow(); });
  }

  // The marked region is moved, or one of its ends ('start', 'end').
  follow(region, side) {
    const { time, start, end } = this.pressed, by = this.timeAt(this.pointer) - time, { seconds } = this;
    const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
    if (side === 'start') region.start = clamp(start + by, 0, end - SHORTEST);
    else if (side === 'end') region.end = clamp(end + by, start + SHORTEST, seconds);
    else [region.start, region.end] = [start, end].map(place => place + clamp(by, -start, seconds - end));
    region.renderPosition();
  }

  onCreated(region) {
    if (region.id === 'beat') return;
    if (this.marked && this.marked !== region) this.marked.remove();
    this.marked = region;
    region.element.style.zIndex = 2;
    region.element.dataset.region = 'marked';
    if (region.end - region.start < SHORTEST) {
      region.remove();
      this.marked = null;
      this.wantedRegion = null;
      return this.tell('region', { region: null, done: true });
    }
    this.onUpdated(region);
  }

  onUpdated(region) {
    if (region !== this.marked) return;
    this.wantedRegion = [region.start, region.end];
    this.tell('region', { region: this.wantedRegion, done: true });
  }
}

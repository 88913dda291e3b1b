// The sound: decoded files, a source that can be exchanged without a gap, clicks, and the clock of what is heard.
import { bytes } from './api.js';

const KEPT = 4, FADE = 0.004, JUMP = 0.05, WAKING = 1500;

export class Sound {
  constructor() {
    this.context = null;
    this.kept = new Map();
    this.source = null;
    this.clicks = new Set();
    this.offset = null;
  }

  open() {
    this.context ??= new AudioContext({ latencyHint: 'interactive' });
    return this.context;
  }

  // True once the sound device runs. Only a person's action may start it.
  async wake() {
    const context = this.open();
    if (context.state !== 'running') {
      this.offset = null;
      const slow = new Promise(done => setTimeout(done, WAKING));
      await Promise.race([context.resume().catch(() => {}), slow]);
    }
    return context.state === 'running';
  }

  // {buffer, lufs} of an address, at least as long as the picture (silence is added). Kept, so that a switch is immediate.
  load(address, length, lufs = null) {
    if (!this.kept.has(address)) {
      const made = this.decode(address, length).then(buffer => ({ buffer, lufs }));
      made.catch(() => this.kept.delete(address));
      this.kept.set(address, made);
      for (const old of this.kept.keys()) if (this.kept.size > KEPT) this.kept.delete(old);
    }
    const found = this.kept.get(address);
    this.kept.delete(address);
    this.kept.set(address, found);
    return found;
  }

  async decode(address, length) {
    const context = this.open();
    const buffer = await context.decodeAudioData(await bytes(address));
    if (buffer.duration >= length) return buffer;
    const longer = context.createBuffer(buffer.numberOfChannels, Math.ceil(length * buffer.sampleRate), buffer.sampleRate);
    for (let channel = 0; channel < buffer.numberOfChannels; channel++) longer.copyToChannel(buffer.getChannelData(channel), channel);
    return longer;
  }

  // The context's time that is heard at a time of performance.now(): what the device plays, its latency taken off.
  heard(at = performance.now()) {
    const context = this.context, now = performance.now(), stamp = context.getOutputTimestamp?.();
    let offset = context.currentTime - (context.outputLatency || context.baseLatency || 0) - now / 1000;
    if (stamp?.contextTime > 0 && stamp.performanceTime > 0) {
      const stamped = stamp.contextTime - stamp.performanceTime / 1000;
      if (Math.abs(stamped - offset) < 0.25) offset = stamped;
    }
    const far = this.offset === null || Math.abs(offset - this.offset) > JUMP;
    this.offset = far ? offset : this.offset + 0.05 * (offset - this.offset);
    return this.offset + at / 1000;
  }

  // Plays a buffer from a place on, at a time of the context; what played before stops then.
  start(buffer, gain, when, place, loop) {
    this.stop(when);
    const context = this.context, node = context.createBufferSource(), volume = context.createGain();
    node.buffer = buffer;
    if (loop) Object.assign(node, { loop: true, loopStart: loop[0], loopEnd: loop[1] });
    volume.gain.setValueAtTime(0, when);
    volume.gain.linearRampToValueAtTime(gain, when + FADE);
    node.connect(volume).connect(context.destination);
    node.start(when, Math.max(0, place));
    this.source = { node, volume, gain };
  }

  stop(when = this.context?.currentTime ?? 0) {
    if (!this.source) return;
    const { node, volume, gain } = this.source;
    volume.gain.cancelScheduledValues(when);
    volume.gain.setValueAtTime(gain, when);
    volume.gain.linearRampToValueAtTime(0, when + FADE);
    node.stop(when + FADE);
    node.addEventListener('ended', () => volume.disconnect());
    this.source = null;
  }

  click(when, strong) {
    const context = this.context, node = context.createOscillator(), volume = context.createGain();
    node.frequency.value = strong ? 1760 : 1175;
    volume.gain.setValueAtTime(0, when);
    volume.gain.linearRampToValueAtTime(strong ? 0.5 : 0.32, when + 0.001);
    volume.gain.exponentialRampToValueAtTime(0.001, when + 0.05);
    node.connect(volume).connect(context.destination);
    node.start(when);
    node.stop(when + 0.06);
    const entry = { node, volume };
    this.clicks.add(entry);
    node.addEventListener('ended', () => { volume.disconnect(); this.clicks.delete(entry); });
  }

  dropClicks() {
    for (const { node, volume } of this.clicks) {
      node.stop();
      volume.disconnect();
    }
    this.clicks.clear();
  }
}

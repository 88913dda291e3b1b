// Integrated loudness of a decoded sound (ITU-R BS.1770-4), for sounds whose loudness the server does not tell.
const BLOCK = 0.4, HOP = 0.1, FLOOR = -70;

export async function loudness(buffer) {
  const context = new OfflineAudioContext(buffer.numberOfChannels, buffer.length, buffer.sampleRate);
  const source = context.createBufferSource();
  source.buffer = buffer;
  const shelf = new BiquadFilterNode(context, { type: 'highshelf', frequency: 1500, gain: 4 });
  const pass = new BiquadFilterNode(context, { type: 'highpass', frequency: 38, Q: -6 });
  source.connect(shelf).connect(pass).connect(context.destination);
  source.start();
  const weighted = await context.startRendering();
  const hop = Math.round(HOP * weighted.sampleRate), parts = Math.floor(weighted.length / hop), power = new Float64Array(parts);
  for (let channel = 0; channel < weighted.numberOfChannels; channel++) {
    const samples = weighted.getChannelData(channel);
    for (let part = 0; part < parts; part++) {
      let sum = 0;
      for (let k = part * hop; k < (part + 1) * hop; k++) sum += samples[k] * samples[k];
      power[part] += sum / hop;
    }
  }
  const hops = Math.round(BLOCK / HOP), blocks = [];
  for (let k = 0; k + hops <= parts; k++) {
    let sum = 0;
    for (let j = k; j < k + hops; j++) sum += power[j];
    blocks.push(sum / hops);
  }
  const level = mean => -0.691 + 10 * Math.log10(mean);
  const mean = list => list.reduce((sum, value) => sum + value, 0) / list.length;
  const loud = blocks.filter(block => level(block) > FLOOR);
  if (!loud.length) return null;
  const gate = level(mean(loud)) - 10;
  return level(mean(loud.filter(block => level(block) > gate)));
}

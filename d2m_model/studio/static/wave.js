// Draws a piece of the waveform, highest values upon a middle line. wavesurfer's own way begins and ends each piece at zero, which shows
// as a notch where two pieces meet in a zoomed time line.
export function drawWave([peaks], context) {
  const { width, height } = context.canvas, columns = Math.min(width, peaks.length), high = new Float32Array(columns);
  peaks.forEach((peak, k) => {
    const column = Math.floor(k * columns / peaks.length);
    high[column] = Math.max(high[column], Math.abs(peak));
  });
  const points = Array.from(high, (value, column) => [(column + 0.5) * width / columns, Math.max(1, value * height / 2)]);
  if (!columns) return;
  const line = [[0, points[0][1]], ...points, [width, points.at(-1)[1]]];
  context.beginPath();
  for (const [x, y] of line) context.lineTo(x, height / 2 - y);
  for (const [x, y] of line.reverse()) context.lineTo(x, height / 2 + y);
  context.fill();
}

// Draws the dancers' joints over the picture, for the frame that is seen.
import { bytes } from './api.js';

const SCALE = 10, SURE = 50;

export class Skeleton {
  constructor(canvas, pictures) {
    Object.assign(this, { canvas, pictures, pose: null, data: null, dancer: 0, on: true, frame: 0, address: '' });
    new ResizeObserver(() => this.draw()).observe(pictures.shown);
    pictures.addEventListener('loadedmetadata', () => {
      canvas.parentElement.style.setProperty('--ratio', pictures.shown.videoWidth / pictures.shown.videoHeight);
      this.draw();
    });
  }

  // pose: the job's description of the poses, or null; key: changes when the poses change.
  async load(address, pose, key) {
    if (this.address === key) return;
    this.address = key;
    this.pose = this.data = null;
    this.draw();
    if (!pose) return;
    try {
      const data = new Int16Array(await bytes(address));
      if (this.address === key) Object.assign(this, { data, pose });
    } catch { this.address = ''; }
    this.draw();
  }

  follow(dancer) {
    if (this.dancer === dancer) return;
    this.dancer = dancer;
    this.draw();
  }

  at(frame) {
    this.frame = frame;
    this.draw();
  }

  draw() {
    const { canvas, data, pose } = this, video = this.pictures.shown, box = video.getBoundingClientRect(), dense = devicePixelRatio || 1;
    const outer = canvas.parentElement.getBoundingClientRect();
    const width = Math.round(box.width * dense), height = Math.round(box.height * dense);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    Object.assign(canvas.style, { width: `${box.width}px`, height: `${box.height}px`, left: `${box.left - outer.left}px`, top: `${box.top - outer.top}px` });
    const pen = canvas.getContext('2d');
    pen.clearRect(0, 0, width, height);
    if (!this.on || !data || !video.videoWidth || !width) return;
    const scale = width / video.videoWidth / SCALE, fine = dense * Math.min(1, Math.max(0.35, box.height / 300)); // thinner in a small picture
    for (let person = 0; person < pose.people; person++) if (person !== this.dancer) this.person(pen, person, scale, fine, 'rgb(255 255 255 / .55)');
    if (this.dancer < pose.people) this.person(pen, this.dancer, scale, fine, '#ffb224');
  }

  person(pen, person, scale, fine, tint) {
    const { data, pose } = this, frame = Math.min(this.frame, pose.frames - 1), start = (frame * pose.people + person) * pose.joints * 3;
    const seen = joint => data[start + 3 * joint + 2] > SURE;
    const x = joint => data[start + 3 * joint] * scale, y = joint => data[start + 3 * joint + 1] * scale;
    const path = new Path2D(), dots = new Path2D();
    for (const [a, b] of pose.edges) {
      if (!seen(a) || !seen(b)) continue;
      path.moveTo(x(a), y(a));
      path.lineTo(x(b), y(b));
    }
    for (let joint = 0; joint < pose.joints; joint++) {
      if (!seen(joint)) continue;
      dots.moveTo(x(joint) + 3 * fine, y(joint));
      dots.arc(x(joint), y(joint), 3 * fine, 0, 2 * Math.PI);
    }
    pen.lineCap = 'round';
    for (const [width, colour] of [[5, 'rgb(0 0 0 / .6)'], [2.5, tint]]) {
      pen.lineWidth = width * fine;
      pen.strokeStyle = colour;
      pen.stroke(path);
    }
    pen.fillStyle = tint;
    pen.fill(dots);
  }
}

// The start screen: drop or choose a file, a clip of the corpus, earlier jobs; and the queue.
import { $, ask, complain, counted, make, say, seconds, show, size, wait, write } from './dom.js';
import { post, remove, upload } from './api.js';
import { forget } from './unsaved.js';
import { isSound, NO_DANCE } from './drop.js';
import { open, refresh, state } from './state.js';

const PROJECT = /\.zip$/i, DAY = 86400;

export class Jobs {
  constructor() {
    this.sending = null;
    this.unknown = false;
    $('file').addEventListener('change', () => {
      const [file] = $('file').files;
      $('file').value = '';
      if (file) this.take(file);
    });
    $('upload-stop').addEventListener('click', () => this.sending?.stop());
  }

  // Sends a video or a project file, and opens its job.
  async take(file) {
    const limit = this.studio?.limits.upload_bytes;
    if (isSound(file)) return say(NO_DANCE, 'bad');
    if (this.sending) return say('One file is being sent already.', 'bad');
    if (limit && file.size > limit) return say(`${file.name} has ${size(file.size)}; at most ${size(limit)} can be opened.`, 'bad');
    location.hash = '';
    show($('upload'), true);
    const told = share => { $('upload-bar').value = share; write($('upload-text'), `Sending ${file.name}: ${Math.round(100 * share)} %`); };
    told(0);
    say(`Sending ${file.name} …`, '', true);
    const kind = PROJECT.test(file.name) ? 'projects' : 'jobs';
    try {
      this.sending = upload(`/api/${kind}?name=${encodeURIComponent(file.name)}`, file, told);
      const { id } = await this.sending.done;
      say(`${file.name} is here.`, '', true);
      location.hash = id;
    } catch (error) { complain(error); }
    this.sending = null;
    show($('upload'), false);
  }

  async clip(clip) {
    try {
      const { id } = await post('/api/jobs/from-clip', { clip });
      location.hash = id;
    } catch (error) { complain(error); }
  }

  follow(studio) {
    this.studio = studio;
    const { limits } = studio;
    write($('limits'), `Up to ${size(limits.upload_bytes)} and ${limits.seconds >= 120 ? `${Math.round(limits.seconds / 60)} minutes` : `${limits.seconds} s`}. It stays on the machine that runs the studio.`);
    show($('clips-card'), studio.clips.length);
    write($('clips-title'), `Or try a dance of the ${studio.corpus} corpus`);
    this.list($('clips'), studio.clips, clip => make('button', { type: 'button', dataset: { clip: clip.id }, textContent: `${clip.id}, ${seconds(clip.seconds, 1)}`, onclick: () => this.clip(clip.id) }));
    show($('no-jobs'), !studio.jobs.length);
    this.list($('jobs'), studio.jobs, job => this.row(job));
    this.queue(studio.queue);
  }

  list(parent, entries, draw) {
    const key = JSON.stringify(entries);
    if (parent.dataset.key === key) return;
    parent.dataset.key = key;
    parent.replaceChildren(...entries.map(draw));
  }

  row(job) {
    const ago = Date.now() / 1000 - job.changed, date = new Date(1000 * job.changed);
    const when = ago < DAY ? date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }) : date.toLocaleDateString();
    const words = [job.seconds === null ? null : seconds(job.seconds, 1), job.failed && !job.busy ? 'failed' : null, job.failed && !job.takes ? null : counted(job.takes, 'take'), job.busy ? 'at work' : null, when].filter(Boolean).join(', ');
    return make('li', { dataset: { job: job.id } }, make('a', { href: `#${job.id}`, textContent: job.name }), make('span', { className: 'soft', textContent: words }),
      make('button', { type: 'button', className: 'danger', textContent: 'Delete', 'aria-label': `delete ${job.name}`, onclick: () => this.drop(job) }));
  }

  async drop(job) {
    if (!await ask(`Delete ${job.name} with its takes? This can't be undone.`, 'Delete', true)) return false;
    try {
      await this.leave(job.id);
      await remove(`/api/jobs/${job.id}`);
      forget(job.id);
      say(`${job.name} is deleted.`);
    } catch (error) { complain(error); return false; }
    refresh();
    return true;
  }

  // Nothing is asked of a job any more before it is deleted.
  async leave(id) {
    if (state.id !== id) return;
    history.replaceState(null, '', location.pathname);
    open(null);
    await Promise.race([refresh(), wait(3000)]);
  }

  // lost: the server does not answer, so nobody knows what it does.
  set lost(now) {
    this.unknown = now;
    if (now) this.queue([]);
  }

  queue(queue) {
    if (this.unknown) queue = [];
    const firsts = queue.filter((entry, k) => queue.findIndex(other => other.job === entry.job) === k); // of each job, what comes next
    const words = firsts.map(({ name, what }) => `${name} (${what})`);
    write($('queue'), words.length ? `${queue[0].running === false ? 'Waits' : 'At work'}: ${words[0]}${words.length > 1 ? `; then ${words.slice(1, 3).join(', ')}${words.length > 3 ? ` and ${words.length - 3} more` : ''}` : ''}` : '');
  }
}

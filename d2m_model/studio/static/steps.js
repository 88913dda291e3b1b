// The progress list of a job: what each step found, how far it is, what went wrong.
import { $, STATES, complain, farWords, make, say, show, write } from './dom.js';
import { post } from './api.js';
import { refresh } from './state.js';

const NAMES = { read: 'Read', pose: 'Pose', rhythm: 'Rhythm', music: 'Music' };

export class Steps {
  constructor() {
    this.job = null;
    this.states = {};
    this.cancelled = () => {};
    $('cancel').addEventListener('click', () => { this.cancelled(); this.send('cancel', { what: 'all' }, 'Cancelled: nothing of this dance runs or waits.'); });
    $('again').addEventListener('click', () => this.send('again', {}, 'Trying again.'));
  }

  // queue: all that runs and waits, of all jobs; what is before this job's part is told.
  follow(job, queue) {
    const first = queue.findIndex(entry => entry.job === job.id);
    if (this.job?.id !== job.id) this.states = {};
    this.job = job;
    let before = null, queued = Math.max(0, first); // told at the first step that waits
    for (const [step, told] of Object.entries(job.steps)) {
      this.draw(step, { ...told, error: told.error === before ? null : told.error }, queued); // an error that stops all steps is told once
      if (told.state === 'waiting') queued = 0;
      before = told.error ?? before;
    }
    $('job').dataset.settled = Object.values(job.steps).every(step => step.state === 'done' && !step.doubt);
    show($('cancel'), job.busy);
    show($('again'), !job.busy && Object.values(job.steps).some(step => step.state === 'failed' || step.state === 'cancelled'));
    const key = JSON.stringify(job.notes);
    if ($('notes').dataset.key !== key) {
      $('notes').dataset.key = key;
      $('notes').replaceChildren(...job.notes.map(note => make('li', { textContent: note })));
    }
  }

  draw(step, { state, found, error, progress, doubt }, queued) {
    const row = document.querySelector(`[data-step="${step}"]`);
    if (!row) return;
    row.dataset.state = state;
    const doubtful = state === 'done' && Boolean(doubt);
    row.dataset.doubt = doubtful;
    const words = state === 'waiting' && queued ? `waits for other work, ${queued} before it` : doubtful ? 'look at this:' : STATES[state];
    const far = state === 'running' && progress?.total ? farWords(progress) : '';
    write(row.querySelector('.state'), far || words);
    write(row.querySelector('.found'), error || (state === 'done' ? found ?? '' : ''));
    row.querySelector('.found').classList.toggle('bad', Boolean(error));
    const bar = row.querySelector('progress');
    show(bar, state === 'running');
    if (progress?.total) bar.value = progress.done / progress.total;
    else bar.removeAttribute('value');
    const before = this.states[step];
    this.states[step] = state;
    if ((before ? before !== state : error) && !this.quiet && (state === 'done' || state === 'failed')) say(`${NAMES[step]}: ${error || found || 'done'}.`, error ? 'bad' : '');
  }

  async send(what, body, words) {
    try {
      await post(`/api/jobs/${this.job.id}/${what}`, body);
      await refresh();
      say(words);
    } catch (error) {
      complain(error);
      refresh();
    }
  }
}

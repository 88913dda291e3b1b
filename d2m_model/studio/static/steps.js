// The progress list of a job: what each step found, how far it is, what went wrong.
import { $, STATES, STOPPING, complain, counted, farWords, make, say, show, write } from './dom.js';
import { post } from './api.js';
import { refresh } from './state.js';

const NAMES = { read: 'Read', pose: 'Pose', rhythm: 'Rhythm', music: 'Music' };

const WIDE = matchMedia('(min-width: 861px)');

// Whether the person closed the list of a job; it stays so after a reload.
const key = id => `studio-progress-${id}`;
const closed = id => sessionStorage.getItem(key(id)) === 'closed';
function keepClosed(id, yes) {
  try {
    if (yes) sessionStorage.setItem(key(id), 'closed');
    else sessionStorage.removeItem(key(id));
  } catch { /* full */ }
}

export class Steps {
  constructor() {
    this.job = this.cancelling = null;
    this.states = {};
    this.cancelled = () => {};
    $('steps-panel').addEventListener('toggle', () => { if (this.job) keepClosed(this.job.id, !$('steps-panel').open); });
    $('cancel').addEventListener('click', () => { this.cancelled(); this.cancel(); });
    $('again').addEventListener('click', () => { this.cancelling = null; this.send('again', {}, 'Trying again.'); });
  }

  // queue: all that runs and waits, of all jobs; what is before this job's part is told.
  follow(job, queue) {
    const first = queue.findIndex(entry => entry.job === job.id);
    if (this.job?.id !== job.id) {
      this.states = {};
      this.cancelling = null;
      $('steps-panel').open = !closed(job.id);
      $('notes-fold').open = WIDE.matches;
    }
    this.job = job;
    let before = null, queued = Math.max(0, first); // told at the first step that waits
    for (const [step, told] of Object.entries(job.steps)) {
      this.draw(step, { ...told, known: step === 'rhythm' && job.keeps_beats, error: told.error === before ? null : told.error }, queued); // an error that stops all steps is told once
      if (told.state === 'waiting') queued = 0;
      before = told.error ?? before;
    }
    $('job').dataset.settled = Object.values(job.steps).every(step => step.state === 'done' && !step.doubt);
    if (this.cancelling === job.id && !job.busy) {
      this.cancelling = null;
      say('Cancelled: nothing of this dance runs or waits.');
    }
    show($('cancel'), job.busy);
    show($('again'), !job.busy && !job.hopeless && Object.values(job.steps).some(step => step.state === 'failed' || step.state === 'cancelled'));
    const key = JSON.stringify(job.notes);
    if ($('notes').dataset.key !== key) {
      $('notes').dataset.key = key;
      show($('notes-fold'), job.notes.length);
      write($('notes-fold').querySelector('summary'), counted(job.notes.length, 'note'));
      $('notes').replaceChildren(...job.notes.map(note => make('li', { textContent: note })));
    }
  }

  // known: what it found is not what the person has now, which was told.
  draw(step, { state, found, error, progress, doubt, advice, stopping, asked, known }, queued) {
    const row = document.querySelector(`[data-step="${step}"]`);
    if (!row) return;
    row.dataset.state = state;
    const doubtful = state === 'done' && Boolean(doubt);
    row.dataset.doubt = doubtful;
    const words = state === 'waiting' && queued ? `waits for other work, ${queued} before it` : doubtful ? 'look at this:' : stopping ? STOPPING : STATES[state];
    const far = state === 'running' && !stopping && progress?.total ? farWords(progress) : '';
    write(row.querySelector('.state'), far || words);
    write(row.querySelector('.found'), error || (state === 'done' ? found ?? '' : ''));
    row.querySelector('.found').classList.toggle('bad', Boolean(error));
    const fold = row.querySelector('.advice');
    if (fold) {
      show(fold, state === 'done' && advice);
      write(fold.querySelector('p'), advice ?? '');
    }
    const bar = row.querySelector('progress');
    show(bar, state === 'running');
    if (progress?.total && !stopping) bar.value = progress.done / progress.total;
    else bar.removeAttribute('value');
    const before = this.states[step], now = step === 'music' ? state : `${asked} ${state}`; // a step may be done again between two answers
    this.states[step] = now;
    const news = before ? before !== now && !(state === 'done' && known) && !(state === 'failed' && step === 'music') : error; // a take that fails is told by its number
    if (news && !this.quiet && (state === 'done' || state === 'failed')) say(`${NAMES[step]}: ${error || found || 'done'}.`, error ? 'bad' : '');
  }

  // What runs needs a moment to stop.
  async cancel() {
    const { id } = this.job;
    this.cancelling = id;
    await this.send('cancel', { what: 'all' }, 'Cancelling …');
  }

  async send(what, body, words) {
    say(words); // before what comes of it is told
    try {
      await post(`/api/jobs/${this.job.id}/${what}`, body);
      await refresh();
    } catch (error) {
      this.cancelling = null;
      complain(error);
      refresh();
    }
  }
}

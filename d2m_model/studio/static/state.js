// What the server last told: the studio (jobs, queue, styles) and the open job. Asks again and again, and tells the watchers.
import { get, Lost } from './api.js';
import { complain, say } from './dom.js';

const BUSY = 400, CALM = 2000, STUDIO = 2000;
export const state = { studio: null, job: null, id: null };
const watchers = new Set(), asking = new Set();
let timer = 0, running = false, again = false, studioAsked = 0;

// told(state) after each answer. before(): called when a question is sent; its result is passed to told as the second argument.
export function watch(told, before = null) {
  watchers.add({ told, before });
}

// Opens a job, or the start screen (null).
export function open(id) {
  if (state.id === id && (id === null) === (state.job === null)) return;
  state.id = id;
  state.job = null;
  studioAsked = 0;
  tell(new Map());
  refresh();
}

// Asks now. Returns a promise that ends with the next answer, or with its failure.
export function refresh() {
  const answered = new Promise(done => asking.add(done));
  again = running;
  if (!running) poll();
  return answered;
}

function tell(marks) {
  for (const watcher of watchers) {
    try {
      watcher.told(state, marks.get(watcher));
    } catch (error) {
      console.error(error);
    }
  }
}

// What of a job runs and waits.
const working = job => JSON.stringify([...Object.values(job.steps), ...job.takes, ...job.sounds, ...job.exports].map(part => part.state));

async function askStudio() {
  state.studio = await get('/api/state', 8000);
  studioAsked = performance.now();
}

async function poll() {
  clearTimeout(timer);
  running = true;
  again = false;
  const id = state.id, waiting = [...asking];
  const marks = new Map([...watchers].filter(watcher => watcher.before).map(watcher => [watcher, watcher.before()]));
  try {
    if (id === null || performance.now() - studioAsked > STUDIO || !state.studio) await askStudio();
    const job = id === null ? null : await get(`/api/jobs/${id}`, 8000);
    if (job && state.job && working(job) !== working(state.job)) await askStudio(); // the queue moved on
    if (id === state.id) {
      state.job = job;
      tell(marks);
    }
  } catch (error) {
    if (id !== state.id) { /* of a job that was left meanwhile */ }
    else if (error.status === 404) {
      say('This job is no longer there.', 'bad', true);
      location.hash = '';
    } else if (!(error instanceof Lost)) complain(error);
  }
  if (id === state.id) waiting.forEach(done => { done(); asking.delete(done); });
  running = false;
  const pause = again || id !== state.id ? 0 : state.job?.busy ? BUSY : CALM;
  timer = setTimeout(poll, pause);
}

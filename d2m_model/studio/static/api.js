// Talks to the server. Refused: it answered no, in words for the person. Lost: there was no answer.
import { say, wait } from './dom.js';

export class Refused extends Error {
  constructor(message, status) { super(message); this.status = status; }
}
export class Lost extends Error {
  constructor() { super('The server does not answer. Please try again when it does.'); }
}
const LOCKED = 'Please open the address that the terminal shows; it contains the key to this page.';
const PATIENCE = 20000;
let trouble = null;
const watchers = new Set();

// Calls told(null | 'lost' | 'locked') when the connection changes.
export const watchConnection = told => { watchers.add(told); };
function connection(now) {
  if (now === trouble) return;
  trouble = now;
  watchers.forEach(told => told(now));
}

async function refusal(answer, text) {
  let message = '';
  try { message = JSON.parse(text).error; } catch { /* not ours */ }
  if (answer.status === 401 || answer.status === 403) {
    connection('locked');
    return new Refused(message || LOCKED, answer.status);
  }
  connection(null);
  return new Refused(message || `The server answered with error ${answer.status}.`, answer.status);
}

export async function request(method, address, body, patience = PATIENCE) {
  const given = { method, headers: {}, signal: AbortSignal.timeout(patience) };
  if (method !== 'GET') given.headers['X-Studio'] = '1';
  if (body !== undefined) {
    given.headers['Content-Type'] = 'application/json';
    given.body = JSON.stringify(body);
  }
  let answer, text;
  try {
    answer = await fetch(address, given);
    text = await answer.text();
  } catch {
    connection('lost');
    throw new Lost();
  }
  if (!answer.ok) throw await refusal(answer, text);
  connection(null);
  return text ? JSON.parse(text) : {};
}
export const get = (address, patience) => request('GET', address, undefined, patience);
export const post = (address, body = {}) => request('POST', address, body);
export const put = (address, body) => request('PUT', address, body);
export const remove = address => request('DELETE', address);

// The bytes of an address. Waits for a lost server.
export const bytes = address => insist(async () => {
  let answer;
  try {
    answer = await fetch(address);
    if (answer.ok) return await answer.arrayBuffer();
  } catch {
    connection('lost');
    throw new Lost();
  }
  throw await refusal(answer, await answer.text());
});

// Tries until the server answers; a refusal for want of the key is waited out as well. Nothing is sent any more once stop() is true.
export async function insist(attempt, stop = () => false) {
  for (let pause = 500; ; pause = Math.min(2 * pause, 4000)) {
    try {
      return await attempt();
    } catch (error) {
      const passing = error instanceof Lost || error.status === 401 || error.status === 403;
      if (!passing || stop()) throw error;
    }
    await wait(pause);
    if (stop()) throw new Lost();
  }
}

// Waits for a server that does not answer, and says what follows when it does; then a request is sent once, not twice. stop(): whether the
// person gave up, which raises Lost.
export async function answering(words, stop = () => false) {
  let told = false;
  await insist(() => get('/api/state', 8000).catch(error => {
    if (error instanceof Lost && !told && !stop()) say(`The server does not answer. ${words} when it answers again.`, 'bad');
    told = true;
    throw error;
  }), stop);
}

// Sends a file's raw bytes; progress(share) while it goes. Returns {done: promise, stop()}.
export function upload(address, file, progress = () => {}) {
  const call = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    call.open('POST', address);
    call.setRequestHeader('X-Studio', '1');
    call.setRequestHeader('Content-Type', 'application/octet-stream');
    call.upload.addEventListener('progress', event => progress(event.total ? event.loaded / event.total : 0));
    call.addEventListener('load', async () => {
      if (call.status >= 200 && call.status < 300) resolve(JSON.parse(call.responseText));
      else reject(await refusal(call, call.responseText));
    });
    call.addEventListener('error', () => reject(new Refused('The file could not be sent: the connection broke, or the file is too large.', 0)));
    call.addEventListener('abort', () => reject(new Refused('Stopped: nothing was sent.', 0)));
    call.send(file);
  });
  return { done, stop: () => call.abort() };
}

// Small helpers for the page's elements and words.
export const $ = id => document.getElementById(id);

// An element with properties (class, dataset, on… and attributes) and children.
export function make(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'dataset') Object.assign(element.dataset, value);
    else if (name in element && name !== 'list') element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

export const show = (element, on) => { if (element.hidden === Boolean(on)) element.hidden = !on; };
export const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };

// Tells the person something, also to screen readers. lasting: it stays when another job, or the start page, is opened.
export function say(text, kind = '', lasting = false) {
  const line = $('status');
  line.dataset.kind = kind;
  line.dataset.lasting = lasting;
  line.textContent = text;
}
// Clears what was told about the job that is left.
export function hush() {
  if ($('status').dataset.lasting !== 'true') say('');
  $('status').dataset.lasting = false;
}
export const capital = text => text && text[0].toUpperCase() + text.slice(1);
// A message of the server as a sentence; one that begins with the name of a file keeps it ("dance.mp4: not a video").
export const complain = error => {
  const text = error.message || String(error);
  say(/^(\S*\.\w|[^:]*\.\w+:)/.test(text) ? text : capital(text), 'bad');
};

export const seconds = (time, digits = 2) => `${time.toFixed(digits)} s`;
export const clock = time => time < 60 ? time.toFixed(2) : `${Math.floor(time / 60)}:${(time % 60).toFixed(2).padStart(5, '0')}`;
export const size = bytes => bytes >= 1e9 ? `${+(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`;
export const takeWords = take => `${take.number}: ${take.name || `${take.style_name || take.made}${take.made === 'model' ? `, seed ${take.seed}` : ''}`}`;
export const counted = (number, thing) => `${number} ${thing}${number === 1 ? '' : 's'}`;
// "cut: 120 of 246 frames"; seconds ("s", "s of music") have no plural.
export const farWords = ({ label, done, total, unit }) => `${label}: ${done}${total ? ` of ${/^s( |$)/.test(unit) ? `${total} ${unit}` : counted(total, unit)}` : ''}`;
export const STATES = { waiting: 'waits', running: 'at work', done: '', failed: 'failed', cancelled: 'cancelled', 'not done': 'not done' };
export const STOPPING = 'is being cancelled …';
export const wait = time => new Promise(done => setTimeout(done, time));

// Sets the options of a select, [[value, text], …]; keeps the choice if it is still there.
export function options(select, pairs, chosen = select.value) {
  if (!pairs.length) pairs = [['', 'none yet']];
  const now = JSON.stringify(pairs);
  if (select.dataset.options !== now) {
    select.dataset.options = now;
    select.replaceChildren(...pairs.map(([value, text]) => make('option', { value, textContent: text })));
  }
  if (pairs.some(([value]) => String(value) === String(chosen))) select.value = chosen;
}

// Asks yes or no in a dialog of the page.
export function ask(question, yes = 'Yes', danger = false) {
  const dialog = $('ask');
  $('ask-text').textContent = question;
  $('ask-yes').textContent = yes;
  $('ask-yes').classList.toggle('danger', danger);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise(done => dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), { once: true }));
}

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

// Tells the person something, also to screen readers.
export function say(text, kind = '') {
  const line = $('status');
  line.dataset.kind = kind;
  line.textContent = text;
}
export const complain = error => say(error.message || String(error), 'bad');

export const seconds = (time, digits = 2) => `${time.toFixed(digits)} s`;
export const clock = time => time < 60 ? time.toFixed(2) : `${Math.floor(time / 60)}:${(time % 60).toFixed(2).padStart(5, '0')}`;
export const size = bytes => bytes >= 1e9 ? `${+(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`;
export const takeWords = take => `${take.number}: ${take.style_name || take.made}`;
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
export function ask(question, yes = 'Yes') {
  const dialog = $('ask');
  $('ask-text').textContent = question;
  $('ask-yes').textContent = yes;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise(done => dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), { once: true }));
}

// The keyboard: one table for what the keys do and for the help sheet.
import { $, make } from './dom.js';

const SPACE_TAKES = 'button, a, summary, input, select';

// Each entry: [group, shown, words, matches(event), act(event)].
export function table({ player, editor, compare, region, timeline, make: form }) {
  const plain = (...keys) => event => !event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey && keys.includes(event.key.toLowerCase());
  const shifted = (...keys) => event => !event.ctrlKey && !event.metaKey && !event.altKey && event.shiftKey && keys.includes(event.key.toLowerCase());
  const sign = (...keys) => event => !event.ctrlKey && !event.metaKey && !event.altKey && keys.includes(event.key);
  const command = (key, shift) => event => (event.ctrlKey || event.metaKey) && !event.altKey && event.shiftKey === shift && event.key.toLowerCase() === key;
  const either = (...tests) => event => tests.some(test => test(event));
  const press = id => () => $(id).click();
  return [
    ['Play', 'Space', 'play or pause', plain(' '), () => player.toggle()],
    ['Play', '← →', 'one frame back or on', plain('arrowleft', 'arrowright'), event => player.step(event.key === 'ArrowLeft' ? -1 : 1)],
    ['Play', 'Shift ← →', 'one second back or on', shifted('arrowleft', 'arrowright'), event => player.seek(player.position() + (event.key === 'ArrowLeft' ? -1 : 1))],
    ['Play', 'Home End', 'to the start or the end', plain('home', 'end'), event => player.seek(event.key === 'Home' ? 0 : player.seconds)],
    ['Play', 'X', 'switch between A and B', plain('x'), () => compare.swap()],
    ['Play', '1 2', 'hear A, hear B', plain('1', '2'), event => compare.hear(event.key === '1' ? 'a' : 'b')],
    ['Play', 'R', 'loop the region, or the whole', plain('r'), press('loop')],
    ['Play', 'C', 'click on the beats', plain('c'), press('click')],
    ['Play', 'K', 'show or hide the skeleton', plain('k'), press('skeleton-on')],
    ['Play', '+ − 0', 'zoom in, zoom out, show all', sign('+', '=', '-', '_', '0'), event => timeline.zoomBy({ '+': 2, '=': 2, '-': 0.5, _: 0.5, 0: 0 }[event.key])],
    ['Beats', ', .', 'select the beat before or after', sign(',', '.'), event => editor.next(event.key === ',' ? -1 : 1)],
    ['Beats', 'J L', 'move it 10 ms earlier or later', plain('j', 'l'), event => editor.nudge(event.key.toLowerCase() === 'j' ? -0.01 : 0.01)],
    ['Beats', 'Shift J L', 'move it one frame earlier or later', shifted('j', 'l'), event => editor.nudgeFrame(event.key.toLowerCase() === 'j' ? -1 : 1)],
    ['Beats', 'D', 'down-beat or ordinary beat', plain('d'), () => editor.toggleDown()],
    ['Beats', 'B', 'add a beat at the play head', plain('b'), () => editor.add()],
    ['Beats', 'Delete', 'delete the selected beat', plain('delete', 'backspace'), () => editor.remove()],
    ['Beats', 'T', 'tap along while it plays; Shift T taps a down-beat', either(plain('t'), shifted('t')), event => { if (!event.repeat) editor.tap(event.shiftKey, event.timeStamp); }],
    ['Beats', 'H, Shift H', 'halve, double the tempo', either(plain('h'), shifted('h')), event => $(event.shiftKey ? 'beats-double' : 'beats-halve').click()],
    ['Beats', 'S, Shift S', 'shift all, snap all, as the fields say', either(plain('s'), shifted('s')), event => $(event.shiftKey ? 'beats-snap' : 'beats-shift').click()],
    ['Beats', 'Z or Ctrl Z', 'undo', either(plain('z'), command('z', false)), () => editor.undo()],
    ['Beats', 'Shift Z or Ctrl Y', 'do it again', either(shifted('z'), command('z', true), command('y', false)), () => editor.redo()],
    ['Region', 'I O', 'the region starts, ends at the play head', plain('i', 'o'), event => event.key.toLowerCase() === 'i' ? region.start() : region.end()],
    ['Region', 'Esc', 'no region', plain('escape'), () => region.clear()],
    ['Region', 'N', 'make the region anew', plain('n'), () => form.remake('redo')],
    ['Region', 'Shift N', 'keep the region, make the rest anew', shifted('n'), () => form.remake('keep')],
    ['Takes', 'M', 'make the music', plain('m'), press('make')],
    ['Takes', 'G', 'to the settings of the next take', plain('g'), () => $('style').focus()],
    ['Takes', 'E', 'to the exports', plain('e'), () => $('export-take').focus()],
    ['Takes', 'Tab, Enter', 'every button and field', () => false, () => {}],
    ['Takes', '?', 'this sheet', sign('?'), () => openHelp()],
  ];
}

const typing = element => element.matches('textarea, [contenteditable], input:not([type=checkbox], [type=range], [type=file])');

export function listen(entries, active) {
  document.addEventListener('keydown', event => {
    const { target } = event;
    if (event.defaultPrevented || event.isComposing || document.querySelector('dialog[open]') || !(target instanceof Element)) return;
    if (typing(target)) {
      if (event.key === 'Escape') target.blur();
      return;
    }
    if (event.key === '?') { event.preventDefault(); return openHelp(); }
    if (!active()) return;
    if (event.key === ' ' && target.matches(SPACE_TAKES) && target.id !== 'seek') return;
    if (target.matches('select') && !event.ctrlKey && !event.metaKey) return;
    if (target.matches('input[type=range]') && /^(Arrow|Home|End|Page)/.test(event.key)) return;
    const found = entries.find(([, , , matches]) => matches(event));
    if (!found) return;
    event.preventDefault();
    found[4](event);
  });
}

export function openHelp() { $('help-sheet').showModal(); }

export function drawHelp(entries) {
  const groups = [...new Set(entries.map(([group]) => group))];
  $('help-keys').replaceChildren(...groups.map(group => make('section', {}, make('h3', { textContent: group }),
    make('dl', {}, ...entries.filter(entry => entry[0] === group).flatMap(([, shown, words]) => [
      make('dt', {}, make('kbd', { textContent: shown })), make('dd', { textContent: words })])))));
  $('help').addEventListener('click', openHelp);
}

// The list of takes: settings, state, play, A and B, download, delete.
import { $, STATES, STOPPING, ask, complain, farWords, make, say, show, write } from './dom.js';
import { insist, post, put, remove } from './api.js';
import { refresh } from './state.js';

const NAME_LENGTH = 60;
const stretch = ([from, to]) => `${from.toFixed(2)} to ${to.toFixed(2)} s`;

export class Takes {
  constructor(compare, player) {
    Object.assign(this, { compare, player, job: null, rows: new Map(), ends: new Map(), cancelling: new Set() });
  }

  follow(job) {
    const opened = this.job?.id !== job.id;
    if (opened) this.clear();
    this.job = job;
    show($('no-takes'), !job.takes.length);
    const gone = new Set(this.rows.keys());
    for (const take of job.takes) {
      gone.delete(take.number);
      if (!this.rows.has(take.number)) {
        const row = this.row(take.number);
        this.rows.set(take.number, row);
        $('takes').prepend(row.item);
      }
      this.draw(this.rows.get(take.number), take);
      this.told(take, opened);
    }
    for (const number of gone) {
      this.rows.get(number).item.remove();
      this.rows.delete(number);
    }
  }

  // Says once how a take ended that failed or that the person cancelled. opened: it may have ended long ago.
  told({ number, asked, state, error }, opened) {
    const end = `${asked} ${state}`;
    if (this.ends.get(number) === end) return;
    this.ends.set(number, end);
    if (opened || state === 'waiting' || state === 'running') return;
    if (state === 'failed') say(`Take ${number} failed: ${error}.`, 'bad');
    if (this.cancelling.delete(number) && state === 'cancelled') say(`Take ${number} is cancelled.`);
  }

  clear() {
    this.ends.clear();
    this.cancelling.clear();
    this.rows.clear();
    $('takes').replaceChildren();
  }

  row(number) {
    const button = (text, label, act) => make('button', { type: 'button', textContent: text, 'aria-label': `${label} take ${number}`, onclick: act });
    const row = {
      head: make('b', { textContent: `Take ${number}` }), name: this.nameField(number), state: make('span', { className: 'soft' }), told: make('span', { className: 'told soft' }),
      error: make('span', { className: 'bad' }), age: make('span', { className: 'soft', hidden: true, textContent: 'made with earlier beats' }), bar: make('progress', { max: 1, hidden: true, 'aria-label': `progress of take ${number}` }),
      play: button('Play', 'play', () => this.play(number)),
      a: button('A', 'set as A:', () => this.compare.choose('a', String(number))),
      b: button('B', 'set as B:', () => this.compare.choose('b', String(number))),
      save: make('a', { className: 'button', textContent: 'WAV', 'aria-label': `download take ${number} as WAV` }),
      stop: button('Cancel', 'cancel', () => this.cancel(number)),
      again: button('Try again', 'try again:', () => this.again(number)),
      drop: button('Delete', 'delete', () => this.drop(number)),
    };
    row.a.dataset.set = 'a';
    row.b.dataset.set = 'b';
    row.item = make('li', { dataset: { take: number } }, make('div', { className: 'head-line' }, row.head, row.name), row.state, row.told, row.error, row.age, row.bar,
      make('div', { className: 'row' }, row.play, row.a, row.b, row.save, row.stop, row.again, row.drop));
    return row;
  }

  draw(row, take) {
    const done = take.state === 'done', busy = take.state === 'waiting' || take.state === 'running';
    row.item.dataset.state = take.state;
    const made = take.made === 'own music' ? ['your own music', done ? '' : take.style_name] : [take.style_name, `strictness ${take.strictness}`, `seed ${take.seed}`, `level ${take.level}`];
    if (!/ LUFS /.test(take.told)) made.push(`${take.lufs === null || take.lufs === undefined ? take.loudness : take.lufs.toFixed(1)} LUFS`); // else it is told below, with why
    if (take.redo) made.push(`${stretch(take.redo)} anew, from take ${take.from}`);
    if (take.keep) made.push(`${stretch(take.keep)} kept from take ${take.from}`);
    write(row.state, made.filter(Boolean).join(' · '));
    const { progress } = take;
    write(row.told, done ? take.told || '' : take.stopping ? STOPPING : take.state === 'running' && progress ? farWords(progress) : STATES[take.state]);
    write(row.error, take.error ?? '');
    show(row.error, take.error);
    show(row.told, row.told.textContent);
    show(row.bar, take.state === 'running');
    if (progress?.total && !take.stopping) row.bar.value = progress.done / progress.total;
    else row.bar.removeAttribute('value');
    for (const part of ['play', 'a', 'b', 'save']) show(row[part], done);
    show(row.stop, busy && !take.stopping);
    show(row.again, !this.job.hopeless && ['failed', 'cancelled', 'not done'].includes(take.state));
    const heard = this.compare.heard === String(take.number);
    row.item.dataset.heard = heard;
    row.item.setAttribute('aria-current', heard);
    show(row.drop, !busy);
    row.save.href = `/api/jobs/${this.job.id}/sound/${take.number}`;
    row.save.download = take.file;
    if (document.activeElement !== row.name) row.name.value = take.name;
    show(row.age, take.old);
    for (const side of ['a', 'b']) row[side].setAttribute('aria-pressed', this.compare.picks[side] === String(take.number));
  }

  // A take's own name: typed, and kept by the server.
  nameField(number) {
    const field = make('input', { type: 'text', className: 'name', maxLength: NAME_LENGTH, placeholder: 'name it', autocomplete: 'off', spellcheck: false, 'aria-label': `name of take ${number}`, title: 'a name of your own for this take',
      onkeydown: event => {
        if (event.isComposing) return;
        if (event.key === 'Enter') field.blur();
        if (event.key === 'Escape') field.value = this.named(number);
      },
      onchange: () => this.rename(number, field.value.trim()) });
    return field;
  }

  named(number) { return this.job.takes.find(take => take.number === number)?.name ?? ''; }

  async rename(number, name) {
    if (name === this.named(number)) return;
    try {
      await insist(() => put(`/api/jobs/${this.job.id}/takes/${number}/name`, { name }));
      say(name ? `Take ${number} is called ${name}.` : `Take ${number} has no name of its own.`);
    } catch (error) { complain(error); }
    refresh();
  }

  async play(number) {
    this.compare.pick(this.compare.side, String(number), true);
    if (!this.player.playing) await this.player.play();
  }

  async cancel(number) {
    this.cancelling.add(number);
    say(`Cancelling take ${number} …`);
    try {
      await post(`/api/jobs/${this.job.id}/cancel`, { what: 'take', number });
    } catch (error) {
      this.cancelling.delete(number);
      complain(error);
    }
    refresh();
  }

  async again(number) {
    say(`Take ${number} is being made again.`);
    try {
      await post(`/api/jobs/${this.job.id}/again`, { number });
    } catch (error) { complain(error); }
    refresh();
  }

  async drop(number) {
    if (!await ask(`Delete take ${number}? This can't be undone.`, 'Delete', true)) return;
    try {
      await remove(`/api/jobs/${this.job.id}/takes/${number}`);
      say(`Take ${number} is deleted.`);
    } catch (error) { complain(error); }
    refresh();
  }
}

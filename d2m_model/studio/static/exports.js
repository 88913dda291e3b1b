// Exports: asked for, waited for, downloaded.
import { $, STATES, complain, make, options, say, show, takeWords } from './dom.js';
import { answering, post } from './api.js';
import { refresh, state } from './state.js';

const WORDS = { video: 'video', wav: 'WAV', beats: 'beats (JSON)', midi: 'beats (MIDI)', click: 'click track', project: 'project' }, NEEDS_TAKE = ['video', 'wav'];

export class Exports {
  constructor(beats) {
    Object.assign(this, { beats, job: null, wanted: new Map(), heard: '' });
    $('export-buttons').addEventListener('click', event => {
      const kind = event.target.closest('[data-kind]')?.dataset.kind;
      if (kind) this.ask(kind);
    });
  }

  follow(job, heard) {
    if (this.job?.id !== job.id) { // nothing that was chosen for another dance
      this.wanted.clear();
      this.heard = '';
      $('mix').value = 0;
    }
    this.job = job;
    const done = job.takes.filter(take => take.state === 'done');
    const there = number => done.some(take => String(take.number) === number), newest = String(done.at(-1)?.number);
    const fresh = heard !== this.heard && there(heard) ? heard : there($('export-take').value) ? undefined : newest;
    this.heard = heard;
    options($('export-take'), done.map(take => [String(take.number), takeWords(take)]), fresh);
    show($('mix-label'), job.video?.sound);
    for (const button of $('export-buttons').querySelectorAll('[data-kind]')) {
      const { kind } = button.dataset;
      button.disabled = NEEDS_TAKE.includes(kind) ? !done.length : !job.beats;
    }
    const key = JSON.stringify(job.exports);
    if ($('exports').dataset.key !== key) {
      $('exports').dataset.key = key;
      $('exports').replaceChildren(...job.exports.map(made => this.row(made)));
    }
    for (const made of job.exports) if (this.wanted.get(made.name) === made.asked) this.arrive(made); // not an earlier one of this name
  }

  address(made) { return `/api/jobs/${this.job.id}/exports/${encodeURIComponent(made.name)}`; }

  row(made) {
    const words = `${WORDS[made.kind] ?? made.kind}${made.take ? `, take ${made.take}` : ''}`;
    const right = made.state === 'done' ? make('a', { href: this.address(made), download: made.file ?? '', textContent: made.file ?? made.name })
      : make('span', { className: made.error ? 'bad' : 'soft', textContent: made.error ?? `${STATES[made.state]} …` });
    return make('li', { dataset: { export: made.name, kind: made.kind, state: made.state } }, make('span', { textContent: words }), right);
  }

  arrive(made) {
    if (made.state === 'done') {
      this.wanted.delete(made.name);
      const link = make('a', { href: this.address(made), download: made.file ?? '', hidden: true });
      document.body.append(link);
      link.click();
      link.remove();
      say(`${made.file ?? made.name} is downloaded.`);
    } else if (['failed', 'cancelled', 'not done'].includes(made.state)) {
      this.wanted.delete(made.name);
      complain({ message: made.error ?? (made.state === 'cancelled' ? 'The export was cancelled.' : 'The export was not done: a step before it failed.') });
    }
  }

  async ask(kind) {
    const take = $('export-take').value, { id } = this.job, mix = kind === 'video' && this.job.video?.sound ? $('mix').valueAsNumber : 0;
    if (!(mix >= 0 && mix <= 1)) return say('The original audio under the take is a number from 0 (none) to 1.', 'bad');
    try {
      await answering(`The ${WORDS[kind]} will be written`, () => state.id !== id);
      if (this.beats.ready) await this.beats.save();
      const { name, asked } = await post(`/api/jobs/${id}/exports`, { kind, take: NEEDS_TAKE.includes(kind) ? Number(take) : null, ...(mix ? { mix } : {}) });
      this.wanted.set(name, asked);
      say(`The ${WORDS[kind]} is being written.`);
    } catch (error) { complain(error); }
    refresh();
  }
}

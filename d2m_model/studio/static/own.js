// Music of one's own: songs that are sent, or a folder that was named at the start of the server.
import { $, STATES, complain, counted, make, options, say, show, write } from './dom.js';
import { answering, post, remove, upload } from './api.js';
import { isSound } from './drop.js';
import { untilRead, unread, usable, why } from './sounds.js';
import { refresh, state } from './state.js';

const UPLOADED = 'uploaded';

export class OwnMusic {
  // loudness(): that of the next take, or null and a word to the person.
  constructor(beats, loudness) {
    Object.assign(this, { beats, loudness, job: null, fits: 0 });
    for (const id of ['songs', 'songs-folder']) $(id).addEventListener('change', () => this.chosen($(id)));
    $('own-make').addEventListener('click', () => this.fit());
  }

  follow(studio, job) {
    if (this.job?.id !== job.id) this.songs = undefined;
    this.job = job;
    const songs = job.sounds.filter(sound => sound.kind === 'song'), key = JSON.stringify(songs);
    if ($('songs-list').dataset.key !== key) {
      $('songs-list').dataset.key = key;
      $('songs-list').replaceChildren(...songs.map(song => this.row(song)));
    }
    const count = songs.filter(usable).length;
    const sources = [...(count ? [[UPLOADED, count > 1 ? `the ${count} songs above` : 'the song above']] : []), ...studio.folders.map(folder => [String(folder.id), `folder ${folder.name}`])];
    const more = songs.length > (this.songs ?? songs.length);
    this.songs = songs.length;
    options($('own-from'), sources, more ? UPLOADED : undefined);
    show($('own-from').parentElement, sources.length);
    $('own-make').disabled = !sources.length || !job.beats || this.pending;
    write($('stretch'), String(Math.round(100 * studio.limits.stretch)));
  }

  row(song) {
    const told = why(song) ?? (song.seconds == null ? STATES[song.state] : `${song.seconds.toFixed(0)} s`);
    return make('li', { dataset: { song: song.number } }, make('span', {}, song.name, ' ', make('span', { className: usable(song) ? 'soft' : 'bad', textContent: told })),
      make('button', { type: 'button', textContent: 'Remove', 'aria-label': `remove ${song.name}`, onclick: () => this.drop(song) }));
  }

  async chosen(input) {
    const files = [...input.files].filter(file => input.id === 'songs' || isSound(file));
    if (input.files.length && !files.length) say('There is no audio file in this folder.', 'bad');
    await this.send(files);
    input.value = '';
  }

  // Sends songs one after another; at the end it says which are here and which were refused.
  async send(files) {
    const { id } = this.job, { fits } = this, refused = [], sent = [];
    $('own-panel').open = true;
    for (const [k, file] of files.entries()) {
      const told = share => say(`Sending song ${k + 1} of ${files.length}: ${file.name}, ${Math.round(100 * share)} %`);
      told(0);
      try {
        sent.push((await upload(`/api/jobs/${id}/sounds?kind=song&name=${encodeURIComponent(file.name)}`, file, told).done).number);
      } catch (error) { refused.push(`${file.name}: ${error.message}`); }
      await refresh();
    }
    const mine = () => state.job?.id === id ? state.job.sounds.filter(sound => sent.includes(sound.number)) : [];
    await untilRead(sent.length > 1 ? 'The songs are' : 'The song is', mine);
    if (state.id !== id) return;
    refused.push(...mine().filter(song => !usable(song)).map(song => `${song.name}: ${why(song)}`));
    const here = files.length - refused.length, words = here === 1 ? 'The song is here, under Music of your own.' : here ? `${counted(here, 'song')} are here, under Music of your own.` : '';
    if (refused.length) say(`${here ? `${counted(here, 'song')} of ${files.length} ${here === 1 ? 'is' : 'are'} here. ` : ''}Refused: ${refused.join('; ')}`, 'bad');
    else if (here && fits === this.fits) say(words); // what became of a take from them is news
  }

  async drop(song) {
    try { await remove(`/api/jobs/${this.job.id}/sounds/${song.number}`); } catch (error) { complain(error); }
    refresh();
  }

  async fit() {
    const from = $('own-from').value, { id } = this.job, left = () => state.id !== id, loudness = this.loudness();
    if (loudness === null) return;
    this.fits++;
    $('own-make').disabled = this.pending = true;
    try {
      await answering('Your songs will be fitted to the dance', left);
      if (from === UPLOADED) await untilRead('Your songs are', () => this.job.sounds.filter(sound => sound.kind === 'song'), left);
      if (left()) throw new Error('You left the dance: no music was made from your songs.');
      await this.beats.save();
      const { numbers } = await post(`/api/jobs/${id}/own-music`, { folder: from === UPLOADED ? UPLOADED : Number(from), loudness });
      say(`Take ${numbers[0]}: the best place in your songs is looked for.`);
    } catch (error) { complain(error); }
    this.pending = false;
    refresh();
  }
}

// Music of one's own: songs that are sent, or a folder that was named at the start of the server.
import { $, STATES, complain, counted, make, options, say, show, wait, write } from './dom.js';
import { post, remove, upload } from './api.js';
import { isSound } from './drop.js';
import { refresh, state } from './state.js';

const UPLOADED = 'uploaded';
// Its name is shown beside it.
const why = song => song.error?.startsWith(`${song.name}: `) ? song.error.slice(song.name.length + 2) : song.error;
const unread = song => song.state === 'waiting' || song.state === 'running';

export class OwnMusic {
  constructor(beats) {
    Object.assign(this, { beats, job: null });
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
    const usable = songs.filter(song => !song.error).length;
    const sources = [...(usable ? [[UPLOADED, usable > 1 ? `the ${usable} songs above` : 'the song above']] : []), ...studio.folders.map(folder => [String(folder.id), `folder ${folder.name}`])];
    const more = songs.length > (this.songs ?? songs.length);
    this.songs = songs.length;
    options($('own-from'), sources, more ? UPLOADED : undefined);
    show($('own-from').parentElement, sources.length);
    this.reading = songs.some(unread);
    $('own-make').disabled = !sources.length || !job.beats || this.pending;
    write($('stretch'), String(Math.round(100 * studio.limits.stretch)));
  }

  row(song) {
    const told = why(song) ?? (song.seconds == null ? STATES[song.state] : `${song.seconds.toFixed(0)} s`);
    return make('li', { dataset: { song: song.number } }, make('span', {}, song.name, ' ', make('span', { className: song.error ? 'bad' : 'soft', textContent: told })),
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
    const { id } = this.job, refused = [], sent = [];
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
    if (sent.length) say(sent.length > 1 ? 'The songs are being read …' : 'The song is being read …');
    while (mine().some(unread)) {
      await wait(400);
      await refresh();
    }
    if (state.id !== id) return;
    refused.push(...mine().filter(song => song.error).map(song => `${song.name}: ${why(song)}`));
    const here = files.length - refused.length, words = here === 1 ? 'The song is here, under Music of your own.' : here ? `${counted(here, 'song')} are here, under Music of your own.` : '';
    if (refused.length) say(`${here ? `${counted(here, 'song')} of ${files.length} ${here === 1 ? 'is' : 'are'} here. ` : ''}Refused: ${refused.join('; ')}`, 'bad');
    else if (here) say(words);
  }

  async drop(song) {
    try { await remove(`/api/jobs/${this.job.id}/sounds/${song.number}`); } catch (error) { complain(error); }
    refresh();
  }

  async fit() {
    const from = $('own-from').value, { id } = this.job;
    $('own-make').disabled = this.pending = true;
    try {
      while (from === UPLOADED && this.reading && state.id === id) {
        say('Your songs are being read …');
        await wait(300);
        await refresh();
      }
      if (state.id !== id) throw new Error('You left the dance: no music was made from your songs.');
      await this.beats.save();
      const { numbers } = await post(`/api/jobs/${id}/own-music`, { folder: from === UPLOADED ? UPLOADED : Number(from), loudness: $('loudness').valueAsNumber });
      say(`Take ${numbers[0]}: the best place in your songs is looked for.`);
    } catch (error) { complain(error); }
    this.pending = false;
    refresh();
  }
}

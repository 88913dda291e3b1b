// Files dropped on the page: a video or a project opens, an audio file becomes a song of the open dance.
import { $, say, show, write } from './dom.js';

const SOUND = /\.(wav|mp3|flac|ogg|oga|opus|m4a|aac|aiff?|wma)$/i;
export const isSound = file => SOUND.test(file.name ?? '') || file.type.startsWith('audio/');
export const NO_DANCE = 'An audio file is no dance video: open a dance first, then drop songs there.';

// opened(): whether a dance is open; take(file): a video or project; songs(files): audio files for the open dance.
export function listenDrops({ opened, take, songs }) {
  let depth = 0;
  const files = event => [...event.dataTransfer?.types ?? []].includes('Files');
  const end = () => { depth = 0; show($('drop-here'), false); };
  const words = items => {
    const kinds = [...items ?? []].filter(item => item.kind === 'file');
    if (!kinds.length || !kinds.every(item => item.type.startsWith('audio/'))) return 'Drop a video or a project: it opens as new work.';
    if (!opened()) return NO_DANCE;
    return kinds.length > 1 ? 'Drop them: songs for this dance.' : 'Drop it: a song for this dance.';
  };
  addEventListener('dragenter', event => {
    if (!files(event)) return;
    depth++;
    write($('drop-here'), words(event.dataTransfer.items));
    show($('drop-here'), true);
  });
  addEventListener('dragleave', event => { if (files(event) && --depth <= 0) end(); });
  addEventListener('dragover', event => { if (files(event)) event.preventDefault(); });
  addEventListener('drop', event => {
    if (!files(event)) return;
    event.preventDefault();
    end();
    const dropped = [...event.dataTransfer.files], sounds = dropped.filter(isSound), other = dropped.find(file => !isSound(file));
    if (other) take(other);
    else if (sounds.length && opened()) songs(sounds);
    else if (sounds.length) say(NO_DANCE, 'bad');
  });
}

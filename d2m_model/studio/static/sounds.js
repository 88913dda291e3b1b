// Audio files that the person sent: how far each is, and waiting until they are read.
import { say, wait } from './dom.js';
import { refresh, state } from './state.js';

export const unread = sound => sound.state === 'waiting' || sound.state === 'running';
export const usable = sound => sound.state !== 'failed' && sound.state !== 'cancelled';
// Its name is shown beside it.
export const why = sound => usable(sound) ? null : sound.error?.startsWith(`${sound.name}: `) ? sound.error.slice(sound.name.length + 2) : sound.error ?? 'cancelled before it was read';

// what: "The song is". Says what it waits for, too.
function words(what, sounds) {
  const made = state.job?.takes.find(take => take.state === 'running');
  if (sounds.some(sound => sound.state === 'running') || !sounds.every(sound => sound.ahead)) return `${what} being read …`;
  return `${what} read after ${made ? `take ${made.number}, which is being made` : 'other work'} …`;
}

// Waits until none of the files that find() gives is unread, and says so; stop(): whether to give up.
export async function untilRead(what, find, stop = () => false) {
  let told = '';
  for (let sounds = find().filter(unread); sounds.length && !stop(); sounds = find().filter(unread)) {
    const now = words(what, sounds);
    if (now !== told) say(told = now);
    await wait(300);
    await refresh();
  }
}

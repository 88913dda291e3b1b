// One step: play to the end, choose, send. The answer is kept here and sent again until the server has it.
'use strict';
const media = document.getElementById('media'), play = document.getElementById('play'), heard = document.getElementById('heard');
const form = document.getElementById('answer'), scale = document.getElementById('scale'), next = document.getElementById('next');
const state = document.getElementById('status');
const wait = ms => new Promise(done => setTimeout(done, ms));
let sending = false;

play.addEventListener('click', () => {
  if (!media.paused) return;
  media.currentTime = 0;
  media.play().catch(() => { state.textContent = 'The audio could not be played. Press play again.'; });
});
media.addEventListener('playing', () => { play.disabled = true; play.textContent = 'Playing'; state.textContent = 'Listen to the end, then answer.'; });
media.addEventListener('timeupdate', () => { heard.value = media.currentTime / (media.duration || 1); });
media.addEventListener('ended', () => {
  heard.value = 1;
  play.disabled = false;
  play.textContent = 'Play again';
  scale.disabled = false;
  state.textContent = '';
});
media.addEventListener('error', async () => {
  play.disabled = false;
  state.textContent = 'No connection. Trying again …';
  await wait(2000);
  media.load();
});
scale.addEventListener('change', () => { next.disabled = false; });

// Ask until there is an answer that is not the network's or the server's failure.
async function insist(address, options) {
  for (let pause = 1000; ; pause = Math.min(2 * pause, 8000)) {
    try {
      const answer = await fetch(address, options);
      if (answer.status < 500) return answer;
    } catch (error) { /* not reached: again */ }
    state.textContent = 'No connection. Your answer is kept and will be sent; please leave this page open.';
    await wait(pause);
  }
}

form.addEventListener('submit', async event => {
  event.preventDefault();
  const chosen = form.querySelector('input:checked');
  if (!chosen || scale.disabled || sending) return;
  sending = true;
  media.pause();
  next.disabled = play.disabled = true;
  state.textContent = 'Saving …';
  const vote = { position: Number(form.dataset.position), score: Number(chosen.value) };
  await insist(form.dataset.vote, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(vote) });
  await insist(location.pathname, { method: 'GET' });
  location.reload();
});

document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === ' ') { event.preventDefault(); play.click(); }
  const choice = /^[1-5]$/.test(event.key) && form.querySelector(`input[value="${event.key}"]`);
  if (choice && !scale.disabled) { choice.checked = true; choice.focus(); next.disabled = false; }
  if (event.key === 'Enter' && event.target !== next && !next.disabled) { event.preventDefault(); form.requestSubmit(); }
});

// One picture, several systems' music: the chosen music follows the video's clock.
const cards = [...document.querySelectorAll('.clip')];
cards.forEach(card => {
  const video = card.querySelector('video'), head = card.querySelector('.playhead');
  if (!video) return;
  const audio = new Audio(), buttons = [...card.querySelectorAll('.tracks button')];
  const follow = () => { audio.currentTime = video.currentTime; if (!video.paused) audio.play(); };
  const choose = b => { buttons.forEach(o => o.setAttribute('aria-pressed', o === b)); audio.src = b.dataset.audio; follow(); };
  buttons.forEach(b => b.addEventListener('click', () => choose(b)));
  video.addEventListener('play', () => {
    document.querySelectorAll('.clip video').forEach(v => { if (v !== video) v.pause(); });
    if (!audio.src) choose(buttons[0]);
    follow();
  });
  video.addEventListener('pause', () => audio.pause());
  video.addEventListener('seeked', follow);
  video.addEventListener('timeupdate', () => {
    if (head) head.setAttribute('transform', `translate(${+head.dataset.width * video.currentTime / +head.dataset.seconds} 0)`);
    if (!video.paused && Math.abs(audio.currentTime - video.currentTime) > .08) audio.currentTime = video.currentTime;
  });
  card.addEventListener('keydown', event => {
    if (event.target !== card && !event.target.matches('.tracks button')) return;
    const button = buttons[Number(event.key) - 1];
    if (button && event.key !== ' ') button.click();
    if (event.key === ' ' && event.target === card) { event.preventDefault(); video.paused ? video.play() : video.pause(); }
  });
});

// The time lines have a row for every system; those that are ticked stand one under the other.
const ticks = [...document.querySelectorAll('.rows input')];
const arrange = () => {
  const names = ticks.filter(t => t.checked).map(t => t.value);
  document.querySelectorAll('svg.beats').forEach(svg => {
    const { width } = svg.viewBox.baseVal, y = place => +svg.dataset.axis + svg.dataset.rowHeight * place;
    svg.setAttribute('viewBox', `0 0 ${width} ${y(names.length)}`);
    svg.querySelectorAll('[data-row]').forEach(row => {
      const place = names.indexOf(row.dataset.row);
      if (place < 0) row.setAttribute('display', 'none'); else row.removeAttribute('display');
      row.setAttribute('transform', `translate(0 ${y(Math.max(0, place))})`);
    });
  });
};
ticks.forEach(tick => tick.addEventListener('change', arrange));
arrange(); // a page that was reloaded keeps its ticks

// j and k walk through the clips; the list and the links of the extremes go to one.
const go = card => { if (card) { card.focus({ preventScroll: true }); card.scrollIntoView({ block: 'start' }); } };
document.addEventListener('keydown', event => {
  if (event.target.matches('input, select, textarea') || event.ctrlKey || event.metaKey || event.altKey) return;
  const here = cards.indexOf(document.activeElement.closest('.clip'));
  if (event.key === 'j') go(cards[Math.min(here + 1, cards.length - 1)]);
  if (event.key === 'k') go(cards[Math.max(here - 1, 0)]);
});
document.getElementById('jump').addEventListener('change', event => go(document.getElementById('clip-' + event.target.value)));
document.querySelectorAll('a[href^="#clip-"]').forEach(a => a.addEventListener('click', event => {
  event.preventDefault();
  go(document.querySelector(a.getAttribute('href').replace(/\./g, '\\.')));
}));

// Click a column's head to sort by it: numbers by value, with what is no number last, and texts by name.
document.querySelectorAll('table.sortable').forEach(table => {
  const body = table.tBodies[0], value = (row, i) => row.cells[i].textContent.trim();
  const number = text => parseFloat(text.replace('−', '-'));
  table.querySelectorAll('th button').forEach((button, i) => {
    let up = false;
    button.addEventListener('click', () => {
      up = !up;
      const rows = [...body.rows], numeric = rows.some(row => !isNaN(number(value(row, i))));
      rows.sort((a, b) => {
        const x = number(value(a, i)), y = number(value(b, i));
        if (!numeric) return (up ? 1 : -1) * value(a, i).localeCompare(value(b, i));
        if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
        return up ? x - y : y - x;
      });
      body.append(...rows);
      table.querySelectorAll('th').forEach((th, k) => k === i ? th.setAttribute('aria-sort', up ? 'ascending' : 'descending') : th.removeAttribute('aria-sort'));
    });
  });
});

// A table wider than the screen says so.
const hint = () => document.querySelectorAll('.scroll').forEach(box => box.previousElementSibling.classList.toggle('more', box.scrollWidth > box.clientWidth + 1));
addEventListener('resize', hint);
hint();

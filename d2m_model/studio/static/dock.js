// Keeps the dance in sight: where picture and time line are scrolled away, a bar at the top of the window shows them, smaller.

// dock: what is kept in sight; body: its only child, which becomes the bar while the dock keeps the place that it had.
export function keepInSight(dock, body) {
  let bar = 0, pending = false;
  const set = on => {
    dock.style.height = on ? `${dock.offsetHeight}px` : '';
    dock.classList.toggle('bar', on);
  };
  // The height of the bar; what is scrolled to stays below it.
  const measure = () => {
    const on = dock.classList.contains('bar');
    dock.classList.add('bar');
    bar = body.offsetHeight;
    dock.classList.toggle('bar', on);
    document.documentElement.style.scrollPaddingTop = `${bar + 8}px`;
  };
  const look = () => {
    pending = false;
    const there = dock.checkVisibility();
    if (there && !bar) measure();
    if (!there) [bar, document.documentElement.style.scrollPaddingTop] = [0, ''];
    const on = there && dock.getBoundingClientRect().bottom < bar;
    if (on !== dock.classList.contains('bar')) set(on);
  };
  const soon = () => {
    if (!pending) requestAnimationFrame(look);
    pending = true;
  };
  addEventListener('scroll', soon, { passive: true });
  addEventListener('resize', () => { set(false); bar = 0; soon(); });
  new ResizeObserver(soon).observe(document.body);
}

// Fingers on the time line. One that goes up or down scrolls the page, one that goes along draws a region or moves the selected beat: which
// of both is known after a few pixels, and until then nothing is told to what draws. A finger is wide: it moves no beat that was not tapped
// before, and draws the region there. Browsers move a touch to the nearest thing that can be
// tapped, which would leave no place to draw a region where beats are close together: so there the beats can't be touched themselves, and
// a touch that is really on a beat is passed on to its marker.
const HANDLE = '[part*="region-handle"]', DECIDED = 7;

// markerAt(event): the marker whose own width the event lies in, or undefined. movable(marker): whether a finger moves it.
export function passTouches(wrapper, markerAt, movable) {
  let finger = null; // {pointerId, x, y, along: null | true | false}
  let holding = false;
  wrapper.parentElement.addEventListener('pointerdown', event => {
    if (!event.isTrusted || event.pointerType !== 'touch') return;
    const { pointerId, pointerType, isPrimary, clientX, clientY } = event;
    if (isPrimary) finger = { pointerId, x: clientX, y: clientY, along: null };
    const marker = event.target.matches?.(HANDLE) ? undefined : markerAt(event);
    holding = Boolean(marker && movable(marker));
    const goal = holding ? marker.element : wrapper;
    if (!marker || (holding && goal.contains(event.target))) return;
    event.stopImmediatePropagation();
    goal.dispatchEvent(new PointerEvent('pointerdown', { pointerId, pointerType, isPrimary, clientX, clientY, button: 0, buttons: 1 }));
  }, true);
  addEventListener('pointermove', event => {
    if (event.pointerId !== finger?.pointerId) return;
    const x = Math.abs(event.clientX - finger.x), y = Math.abs(event.clientY - finger.y);
    if (finger.along === null && Math.max(x, y) > DECIDED) finger.along = x >= y;
    if (!finger.along) event.stopImmediatePropagation();
  }, true);
  for (const end of ['pointerup', 'pointercancel']) addEventListener(end, event => { if (event.pointerId === finger?.pointerId) finger = null; });
  // A held beat is moved, and nothing is scrolled.
  wrapper.addEventListener('touchmove', event => { if (holding && finger?.along && event.cancelable) event.preventDefault(); }, { passive: false });
  // A finger that scrolls can't draw as well, nor be kept from scrolling.
  addEventListener('touchmove', event => { if (!event.cancelable || finger?.along === false) event.stopImmediatePropagation(); }, { capture: true, passive: true });
}

// Fingers on a time line with beats close together. Browsers move a touch to the nearest thing that can be tapped, which would leave no
// place to draw a region: so there the beats can't be touched themselves, and a touch that is really on a beat is passed on to its marker.
const HANDLE = '[part*="region-handle"]';

// markerAt(event): the marker whose own width the event lies in, or undefined.
export function passTouches(wrapper, markerAt) {
  let holding = false;
  wrapper.parentElement.addEventListener('pointerdown', event => {
    if (!event.isTrusted || event.pointerType !== 'touch') return;
    const marker = event.target.matches?.(HANDLE) ? undefined : markerAt(event);
    holding = Boolean(marker);
    if (!marker) return;
    event.stopImmediatePropagation();
    const { pointerId, pointerType, isPrimary, clientX, clientY } = event;
    marker.element.dispatchEvent(new PointerEvent('pointerdown', { pointerId, pointerType, isPrimary, clientX, clientY, button: 0, buttons: 1 }));
  }, true);
  // A held beat is moved, and nothing is scrolled.
  wrapper.addEventListener('touchmove', event => { if (holding && event.cancelable) event.preventDefault(); }, { passive: false });
  // A finger that scrolls already can't draw as well.
  addEventListener('touchmove', event => { if (!event.cancelable) event.stopImmediatePropagation(); }, { capture: true, passive: true });
}

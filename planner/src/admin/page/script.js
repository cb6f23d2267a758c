'use strict';
(() => {
  const main = document.querySelector('main');
  const stale = document.getElementById('stale');
  let busy = false;

  // What a visitor opened, scrolled and focused stays as it is.
  function put(next) {
    const kept = [...main.querySelectorAll('[id]')].map((one) => [one.id, one.scrollLeft, one.scrollTop, one.open]);
    const focused = document.activeElement && document.activeElement.id;
    main.replaceChildren(...next.childNodes);
    for (const [id, left, top, open] of kept) {
      const one = document.getElementById(id);
      if (!one) continue;
      if (open !== undefined) one.open = open;
      one.scrollLeft = left;
      one.scrollTop = top;
    }
    const again = focused && document.getElementById(focused);
    if (again) again.focus({ preventScroll: true });
  }

  async function refresh() {
    if (busy || document.hidden || getSelection().type === 'Range') return;
    busy = true;
    let answered = false;
    try {
      const response = await fetch(location.href, { cache: 'no-store', signal: AbortSignal.timeout(10000) });
      const text = await response.text();
      const next = new DOMParser().parseFromString(text, 'text/html').querySelector('main');
      if (response.ok && next) {
        put(next);
        answered = true;
      }
    } catch {
      // Told below.
    }
    stale.hidden = answered;
    document.documentElement.classList.toggle('old', !answered);
    busy = false;
  }

  setInterval(refresh, 5000);
  document.addEventListener('visibilitychange', refresh);
})();

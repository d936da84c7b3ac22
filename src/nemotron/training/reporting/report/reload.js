// Reloads the page of a running run, while it is visible and nobody uses it.
(() => {
  const { written, seconds } = TIMING;
  const unfolded = () => [...document.querySelectorAll("details")].map((each) => each.open);
  const key = "unfolded:" + location.pathname;
  const started = Date.now();
  let touched = 0;
  for (const kind of ["pointermove", "keydown", "wheel", "touchstart"]) {
    addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
  }
  addEventListener("load", () => {
    const before = JSON.parse(sessionStorage.getItem(key) || "[]");
    document.querySelectorAll("details").forEach((each, index) => { if (index in before) each.open = before[index]; });
  });
  setInterval(() => {
    const age = Date.now() / 1000 - written;
    // A page that nobody writes any more is loaded less and less often.
    const isDue = age > seconds && Date.now() - started > Math.max(seconds, age / 10) * 1000;
    const isLeftAlone = Date.now() - touched > 10000 && !String(getSelection());
    if (!document.getElementById("reload").checked || document.hidden || !isDue || !isLeftAlone) return;
    sessionStorage.setItem(key, JSON.stringify(unfolded()));
    location.reload();
  }, 1000);
})();

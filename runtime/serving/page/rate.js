// The live rate: the difference between two looks at the model's statistics.

const LOOK_MS = 2000;
const LOOKS = 60;

class Rate {
  constructor(model, onChange, onReturn) {
    this.model = model;
    this.onChange = onChange; // the server answers with another version
    this.onReturn = onReturn; // it answers again
    this.isLost = false;
    this.seen = null;
    this.rates = [];
    this.timer = setInterval(() => document.hidden || this.look(), LOOK_MS);
    this.look();
  }

  stop() {
    clearInterval(this.timer);
  }

  async look() {
    try {
      const target = `/v2/models/${encodeURIComponent(this.model.name)}/stats`;
      const [found] = (await (await ask(target)).json()).model_stats;
      if (found.version !== this.model.version) this.onChange();
      else this.show(found);
      showState(true, "✓ serving; its golden rows came out right here");
      if (this.isLost) this.onReturn();
      this.isLost = false;
    } catch (error) {
      this.isLost = true;
      showState(false, `✗ ${error.message}`);
    }
  }

  show({ inference_count: rows, inference_stats: { success, fail } }) {
    const now = { at: performance.now(), rows, requests: success.count, ns: success.ns };
    const before = this.seen ?? now;
    const seconds = (now.at - before.at) / 1000;
    this.seen = now;
    byId("answered").textContent = count(now.requests);
    byId("refused").textContent = `requests since it was loaded, ${count(fail.count)} refused`;
    if (seconds <= 0) return;
    const requests = Math.max(now.requests - before.requests, 0);
    byId("rate").textContent = rounded(requests / seconds);
    byId("rows").textContent = rounded(Math.max(now.rows - before.rows, 0) / seconds);
    byId("latency").textContent = requests ? inMilliseconds((now.ns - before.ns) / requests) : "–";
    this.trace(requests / seconds);
  }

  trace(rate) {
    this.rates = [...this.rates, rate].slice(-LOOKS);
    const most = Math.max(...this.rates, 1);
    const x = (at) => ((at + LOOKS - this.rates.length) / (LOOKS - 1)) * 240;
    const points = this.rates.map((one, at) => `${x(at).toFixed(1)} ${(34 - (one / most) * 32).toFixed(1)}`);
    byId("trace").firstElementChild.setAttribute("d", `M${points.join("L")}`);
  }
}

const rounded = (value) => (value < 10 ? value.toFixed(1) : count(value));
const inMilliseconds = (ns) => `${short((ns / 1e6).toPrecision(3))} ms`;

function showState(good, text) {
  byId("state").className = `verdict ${good ? "good" : "bad"}`;
  byId("state").textContent = text;
}

// Live throughput and latency: differences of the model's statistics.

const POLL_MS = 2000;
const SAMPLES = 60;

class Throughput {
  constructor(model, onChange, onReconnect) {
    this.model = model;
    this.onChange = onChange; // another version is served
    this.onReconnect = onReconnect; // the server responds again
    this.isLost = false;
    this.previous = null;
    this.rates = [];
    this.timer = setInterval(() => document.hidden || this.poll(), POLL_MS);
    this.poll();
  }

  stop() {
    clearInterval(this.timer);
  }

  async poll() {
    try {
      const target = `v2/models/${encodeURIComponent(this.model.name)}/stats`;
      const [found] = (await (await request(target)).json()).model_stats;
      if (found.version !== this.model.version) this.onChange();
      else this.show(found);
      showState(true, "✓ serving · golden rows verified on this machine");
      if (this.isLost) this.onReconnect();
      this.isLost = false;
    } catch (error) {
      this.isLost = true;
      showState(false, `✗ ${error.message}`);
    }
  }

  show({ inference_count: rows, inference_stats: { success, fail } }) {
    const now = { at: performance.now(), rows, requests: success.count, ns: success.ns };
    const before = this.previous ?? now;
    const seconds = (now.at - before.at) / 1000;
    this.previous = now;
    byId("responses").textContent = count(now.requests);
    byId("failures").textContent = `since the model was loaded, ${count(fail.count)} failed`;
    if (seconds <= 0) return;
    const requests = Math.max(now.requests - before.requests, 0);
    byId("rate").textContent = formatRate(requests / seconds);
    byId("rows").textContent = formatRate(Math.max(now.rows - before.rows, 0) / seconds);
    byId("latency").textContent = requests ? formatMilliseconds((now.ns - before.ns) / requests) : "–";
    this.drawSparkline(requests / seconds);
  }

  drawSparkline(rate) {
    this.rates = [...this.rates, rate].slice(-SAMPLES);
    const peak = Math.max(...this.rates, 1);
    const x = (at) => ((at + SAMPLES - this.rates.length) / (SAMPLES - 1)) * 240;
    const points = this.rates.map((one, at) => `${x(at).toFixed(1)} ${(34 - (one / peak) * 32).toFixed(1)}`);
    byId("sparkline").firstElementChild.setAttribute("d", `M${points.join("L")}`);
  }
}

const formatRate = (value) => (value < 10 ? value.toFixed(1) : count(value));
const formatMilliseconds = (ns) => `${short((ns / 1e6).toPrecision(3))} ms`;

function showState(good, text) {
  byId("state").className = `verdict ${good ? "good" : "bad"}`;
  byId("state").textContent = text;
}

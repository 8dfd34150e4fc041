// Live throughput and latency: differences of the model's statistics.

const POLL_MS = 2000;
const WINDOW_MS = 120_000; // of the graph

class Throughput {
  // called when another version is served, when the model is not, and when the server responds again
  constructor(model, { onChange, onUnknown, onReconnect }) {
    Object.assign(this, { model, onChange, onUnknown, onReconnect });
    this.isLost = this.isPolling = false;
    this.previous = null;
    this.rates = []; // pairs of time and rate
    this.timer = setInterval(() => document.hidden || this.poll(), POLL_MS);
    this.poll();
  }

  stop() {
    clearInterval(this.timer);
    this.isPolling = true; // what is still received belongs to another model's page
  }

  async poll() {
    if (this.isPolling) return;
    this.isPolling = true;
    try {
      const target = `v2/models/${encodeURIComponent(this.model.name)}/stats`;
      const [found] = (await (await request(target)).json()).model_stats;
      if (found.version !== this.model.version) return await this.onChange();
      this.show(found);
      showState(true, "✓ serving · golden rows (stored with exact outputs) verified here");
      if (this.isLost) this.onReconnect();
      this.isLost = false;
    } catch (error) {
      this.isLost = true;
      showState(false, `✗ ${error.message}`);
      if (error.status === 404) await this.onUnknown();
    }
    this.isPolling = false;
  }

  show({ inference_count: rows, inference_stats: { success, fail } }) {
    const now = { at: Date.now(), rows, requests: success.count, ns: success.ns };
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
    if (!this.rates.length) this.rates.push([before.at, requests / seconds]);
    this.rates.push([now.at, requests / seconds]);
    this.rates = this.rates.filter(([at]) => now.at - at <= WINDOW_MS);
    this.draw();
  }

  draw() {
    const start = this.rates[0][0], end = this.rates.at(-1)[0];
    const peak = Math.max(...this.rates.map(([, rate]) => rate));
    const top = roundUp(Math.max(peak, 1));
    const points = this.rates.map(([at, rate]) => {
      const x = ((at - start) / Math.max(end - start, 1)) * 240;
      return `${x.toFixed(1)} ${(60 - (rate / top) * 60).toFixed(1)}`;
    });
    byId("graph").lastElementChild.setAttribute("d", `M${points.join("L")}`);
    byId("rate-top").textContent = short(top);
    byId("rate-middle").textContent = short(top / 2);
    byId("rate-from").textContent = formatTime(start);
    byId("rate-to").textContent = formatTime(end);
    const rate = formatRate(this.rates.at(-1)[1]);
    const summary = `Requests per second: ${rate} now, ${formatRate(peak)} at most`;
    byId("graph-name").textContent = summary;
    byId("graph").setAttribute("aria-label", `${summary}, from ${formatTime(start)} to ${formatTime(end)}`);
  }
}

const formatRate = (value) => (value < 10 ? value.toFixed(1) : count(value));
const formatMilliseconds = (ns) => `${short((ns / 1e6).toPrecision(3))} ms`;
const formatTime = (at) => new Date(at).toLocaleTimeString("en-GB");

// 1, 2 or 5 times a power of ten.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= value);
}

// A status that stays is not announced again.
function showState(good, text) {
  const state = byId("state");
  state.className = `verdict ${good ? "good" : "bad"}`;
  if (state.textContent !== text) state.textContent = text;
}
